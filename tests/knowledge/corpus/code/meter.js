// Reads the water meter over the serial line.
export function parseTelegram(bytes) {
  const checksum = bytes.slice(0, -1).reduce((sum, b) => (sum + b) & 0xff, 0);
  if (checksum !== bytes[bytes.length - 1]) {
    throw new Error("bad checksum");
  }
  return { serial: bytes.slice(1, 5), cubicMetres: bytes[5] };
}

export class MeterPoller {
  constructor(port) {
    this.port = port;
  }
  poll() {
    return this.port.read(16).then(parseTelegram);
  }
}
