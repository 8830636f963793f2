"""The composition root: builds every room from a configuration and offers them as a library.

async with prefrontal.open() as pf:
    reply = await pf.chat("What is 17.5% of 2,340?")
"""
