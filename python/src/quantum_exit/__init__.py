"""Exit control for Binance USD-M futures bots."""
