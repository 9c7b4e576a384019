"""Reading an event stream of InvokeWithResponseStream to its end."""


def read_stream(events):
    """All bytes, and the last event."""
    chunks, last = [], None
    for event in events:
        assert last is None, "nothing follows the end"
        if "PayloadChunk" in event:
            assert event["PayloadChunk"]["Payload"]
            chunks.append(event["PayloadChunk"]["Payload"])
        else:
            last = event["InvokeComplete"]
    return b"".join(chunks), last
