/** The server side of one WebSocket (RFC 6455), as much as tests need: text, ping, close; frames under 64 KiB. */

import { createHash } from 'node:crypto';

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

export class FakeSocket {
  #stream;
  #buffer = Buffer.alloc(0);
  onText = () => {};
  onClose = () => {};

  constructor(request, stream) {
    this.#stream = stream;
    const key = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/);
    const chosen = offered.includes('safelight.v1') ? 'Sec-WebSocket-Protocol: safelight.v1\r\n' : '';
    stream.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n${chosen}\r\n`);
    stream.on('data', (chunk) => this.#receive(chunk));
    stream.on('error', () => {});
    stream.on('close', () => this.onClose());
  }

  send(frame) {
    this.#write(TEXT, Buffer.from(JSON.stringify(frame)));
  }

  close(code, reason = '') {
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code);
    payload.write(reason, 2);
    this.#write(CLOSE, payload);
  }

  /** Cuts the wire without a word. */
  destroy() {
    this.#stream.destroy();
  }

  #write(kind, payload) {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    const small = payload.length < 126;
    const header = Buffer.alloc(small ? 2 : 4);
    header[0] = 0x80 | kind;
    header[1] = small ? payload.length : 126;
    if (!small) header.writeUInt16BE(payload.length, 2);
    this.#stream.write(Buffer.concat([header, payload]));
  }

  #receive(chunk) {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (let frame = this.#next(); frame; frame = this.#next()) {
      if (frame.kind === TEXT) this.onText(frame.payload.toString());
      if (frame.kind === PING) this.#write(PONG, frame.payload);
      if (frame.kind === CLOSE) {
        this.#write(CLOSE, frame.payload.subarray(0, 2));
        this.#stream.end();
      }
    }
  }

  #next() {
    const data = this.#buffer;
    if (data.length < 2) return null;
    const short = data[1] & 0x7f;
    const start = short === 126 ? 4 : 2;
    if (data.length < start) return null;
    const length = short === 126 ? data.readUInt16BE(2) : short;
    if (data.length < start + 4 + length) return null;
    const mask = data.subarray(start, start + 4);
    const payload = Buffer.from(data.subarray(start + 4, start + 4 + length).map((byte, i) => byte ^ mask[i % 4]));
    this.#buffer = data.subarray(start + 4 + length);
    return { kind: data[0] & 0x0f, payload };
  }
}
