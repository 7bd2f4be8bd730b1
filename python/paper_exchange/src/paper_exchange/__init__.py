"""A local exchange that speaks the USD-M futures REST protocol."""
