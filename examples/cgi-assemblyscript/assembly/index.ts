// Statistics of sensor readings: one number per line in the request body, JSON out. Lines that are
// not a number are counted as invalid and left out.
//
// A CGI program (RFC 3875), through @assemblyscript/wasi-shim: `process` and `console` are WASI calls.

/** Count, extremes, mean and variance in one pass (Welford), whatever the number of readings. */
class Statistics {
  n: i32 = 0;
  nInvalid: i32 = 0;
  min: f64 = Infinity;
  max: f64 = -Infinity;
  mean: f64 = 0;
  private squares: f64 = 0;

  add(value: f64): void {
    this.n += 1;
    this.min = Math.min(this.min, value);
    this.max = Math.max(this.max, value);
    const difference = value - this.mean;
    this.mean += difference / <f64>this.n;
    this.squares += difference * (value - this.mean);
  }

  addLine(line: string): void {
    const text = line.trim();
    if (text.length == 0) return;
    const value = parseFloat(text);
    if (isFinite(value)) this.add(value);
    else this.nInvalid += 1;
  }

  get deviation(): f64 {
    return Math.sqrt(this.squares / <f64>this.n);
  }

  toJson(): string {
    const counts = `"count":${this.n},"invalid":${this.nInvalid}`;
    if (this.n == 0) return `{${counts}}\n`;
    return `{${counts},"min":${this.min},"max":${this.max},"mean":${this.mean},"deviation":${this.deviation}}\n`;
  }
}

/** Feeds every line of standard input to `statistics`, a chunk at a time. */
function readLines(statistics: Statistics): void {
  const chunk = new ArrayBuffer(4096);
  let pending = "";
  while (true) {
    const n = process.stdin.read(chunk);
    if (n == 0) break;
    // Readings are ASCII, so a chunk cannot end inside a character that matters.
    const lines = (pending + String.UTF8.decode(chunk.slice(0, n))).split("\n");
    pending = lines.pop();
    for (let i = 0; i < lines.length; i++) statistics.addLine(lines[i]);
  }
  statistics.addLine(pending);
}

const statistics = new Statistics();
readLines(statistics);
process.stdout.write("Content-Type: application/json\r\n\r\n" + statistics.toJson());
