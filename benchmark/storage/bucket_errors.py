"""What obstore's error messages mean: the gist in one line, and whether the trouble may pass by itself."""

import re

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_LOST = re.compile(
    r"error sending request|connection|timed? ?out|response body|end of file|reset by peer|dns error", re.I
)


def may_pass(message: str) -> bool:
    """No answer, an answer that breaks off, an overloaded or broken server: worth asking again."""
    first = message.split("\n\n")[0]
    if status := _STATUS.search(first):
        return int(status[1]) >= 500 or int(status[1]) in (408, 429)
    return bool(_LOST.search(first))


def line(error: BaseException) -> str:
    """The gist of one of obstore's messages, which are pages long and name the request."""
    text = str(error)
    code, message = (re.search(f"<{tag}>([^<]*)</{tag}>", text) for tag in ("Code", "Message"))
    if code:
        return f"{code[1]}: {message[1]}" if message and message[1] else code[1]
    return re.sub(r"Error performing \S+ (\S+?)(\?\S*)? in .*? - ", r"\1: ", " ".join(text.split("\n\n")[0].split()))[
        :300
    ]
