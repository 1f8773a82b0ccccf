"""One HTTP/2 connection with as many streams as a test likes; httpx opens a hundred at most."""

import asyncio

import h2.connection
import h2.events
import h2.exceptions


class H2Client:
    """Sends completions over one connection.

    Attributes:
        status: The status of each stream that was answered; None where it was reset.
        unsent: What is left to send of each stream's body.
    """

    def __init__(self):
        self.status, self.unsent = {}, {}
        self._connection = h2.connection.H2Connection()
        self._is_ready = asyncio.Event()

    async def open(self, port):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(2**30)
        self._flush()
        self._reading = asyncio.create_task(self._read())
        await self._is_ready.wait()

    async def close(self):
        self._writer.close()
        await self._reading

    def send(self, body):
        """Send a request as far as the windows allow; returns its stream."""
        stream = self._connection.get_next_available_stream_id()
        pseudo = {":method": "POST", ":path": "/v1/completions", ":scheme": "http", ":authority": "envoy"}
        self._connection.send_headers(stream, list((pseudo | {"content-type": "application/json"}).items()))
        self.unsent[stream] = body
        self._flush()
        return stream

    async def _read(self):
        while data := await self._reader.read(65_536):
            for event in self._connection.receive_data(data):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    self._is_ready.set()
                elif isinstance(event, h2.events.ResponseReceived):
                    self.status[event.stream_id] = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.StreamReset):
                    self.unsent.pop(event.stream_id, None)
                    self.status.setdefault(event.stream_id, None)
            self._flush()

    def _flush(self):
        for stream in list(self.unsent):
            self._send_body(stream)
        self._writer.write(self._connection.data_to_send())

    def _send_body(self, stream):
        while body := self.unsent[stream]:
            room = min(self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size)
            if room <= 0:
                return
            self._connection.send_data(stream, body[:room])
            self.unsent[stream] = body[room:]
        self._connection.end_stream(stream)
        del self.unsent[stream]
