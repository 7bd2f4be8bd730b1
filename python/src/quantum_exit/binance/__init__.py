"""The exchange adapter: Binance USD-M futures over REST.

`client` holds the endpoints, `errors` what can become of a request, `model` the values,
`filters` the order rules, `clock` the exchange's time, `transport` the bytes on the wire.
"""
