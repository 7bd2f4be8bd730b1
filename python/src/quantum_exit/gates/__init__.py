"""The gates a plan passes before it may become an order: `chain` has their order.

Each gate is a pure function of the plan and of what was observed; it returns None to let
the plan pass, or the denial that becomes its result.
"""
