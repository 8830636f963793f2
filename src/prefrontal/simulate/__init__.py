"""Whole workloads in virtual time: agents whose decisions go through the same tiers, cache, budget and rules as live traffic."""
