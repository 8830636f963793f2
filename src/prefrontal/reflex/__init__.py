"""Answers that need no model: tools that recognise a whole question and compute its answer.

`tools.Reflexes` asks each tool to `propose` for a text and later to `answer`; `proposal` holds what they exchange. A tool
takes a text only when the whole of it is its question, and abstains whenever two readings are left.
"""
