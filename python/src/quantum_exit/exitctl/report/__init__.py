"""`exitctl report`: a period in one page: proofs, closed positions, denials, latencies.

`collect` reads, `fills`, `episodes`, `latency` and `proof_log` make sense of it without I/O,
`page` and `chart` write it down. What nobody recorded is called unknown, never guessed.
"""
