"""Answers that replace the exchange's own, as they were seen in the wild."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

_HTML_403 = (
    "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    "<center><h1>403 Forbidden</h1></center>\r\n</body>\r\n</html>\r\n"
)
_HTML_502 = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class Canned:
    """`body` is sent as JSON unless it is a string. `{now_ms}` and `{path}` are filled in."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self, path: str, now_ms: int) -> tuple[int, bytes, dict[str, str]]:
        if isinstance(self.body, str):
            content, kind = self.body, "text/html"
        else:
            content, kind = json.dumps(self.body), "application/json"
        content = content.replace('"{now_ms}"', str(now_ms)).replace("{path}", path)
        return self.status, content.encode(), {"Content-Type": kind, **self.headers}


def _error(status: int, code: int, msg: str) -> Canned:
    return Canned(status, {"code": code, "msg": msg})


CATALOGUE: Mapping[str, Canned] = {
    # outcome unknown: the order may have been executed
    "503_unknown": Canned(
        503,
        {
            "timestamp": "{now_ms}",
            "path": "{path}",
            "msg": "Unknown error, please check your request or try again later.",
        },
    ),
    "408_timeout": _error(
        408,
        -1007,
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown.",
    ),
    "400_message_bus": _error(
        400,
        -1006,
        "An unexpected response was received from the message bus. Execution status unknown.",
    ),
    "502_html": Canned(502, _HTML_502),
    "504_html": Canned(504, _HTML_502.replace("502 Bad Gateway", "504 Gateway Time-out")),
    # failed for certain
    "503_unavailable": Canned(503, {"msg": "Service Unavailable."}),
    "503_throttled": _error(
        503,
        -1008,
        "Request throttled by system-level protection. "
        "Reduce-only/close-position orders are exempt. Please try again.",
    ),
    "503_overloaded": _error(
        503,
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
    ),
    "503_internal": _error(
        503, -1001, "Internal error; unable to process your request. Please try again."
    ),
    "403_waf": Canned(403, _HTML_403),
    "401_key": _error(401, -2015, "Invalid API-key, IP, or permissions for action."),
    "400_timestamp": _error(
        400, -1021, "Timestamp for this request is outside of the recvWindow."
    ),
    "400_engine_window": _error(
        400, -5028, "Timestamp for this request is outside of the ME recvWindow."
    ),
    "400_signature": _error(400, -1022, "Signature for this request is not valid."),
    "400_reduce_only": _error(400, -2022, "ReduceOnly Order is rejected."),
    "400_margin": _error(400, -2019, "Margin is insufficient."),
    "400_risk_control": _error(
        400, -4400,
        "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed, "
        "please try again later.",
    ),
    "400_no_such_order": _error(400, -2013, "Order does not exist."),
    "400_unknown_order": _error(400, -2011, "Unknown order sent."),
    "400_duplicate": _error(400, -4116, "ClientOrderId is duplicated."),
    "429_weight": _error(
        429,
        -1003,
        "Too many requests; current limit is 2400 requests per minute. "
        "Please use the websocket for live updates to avoid polling the API.",
    ),
    "429_orders": _error(
        429, -1015, "Too many new orders; current limit is 300 orders per 10 SECOND."
    ),
}  # fmt: skip
