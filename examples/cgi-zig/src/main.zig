//! Encodes or digests the request body, which the path chooses: `/hex`, `/base64` or `/sha256`.
//!
//! A CGI program (RFC 3875): the request is in the environment and on standard input, the answer goes
//! to standard output. The body passes through one buffer, so it may have any length.
const std = @import("std");

const Encoding = enum { hex, base64, sha256 };

/// A multiple of three, so that every chunk but the last ends where a base64 group does.
const chunk_bytes = 3 * 4096;

pub fn main() !void {
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    const environment = try std.process.getEnvMap(arena.allocator());
    const path = environment.get("PATH_INFO") orelse "/";
    const out = std.fs.File.stdout();

    const encoding = std.meta.stringToEnum(Encoding, std.mem.trim(u8, path, "/")) orelse {
        return out.writeAll("Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\n" ++
            "choose /hex, /base64 or /sha256\n");
    };
    try out.writeAll("Content-Type: text/plain\r\n\r\n");
    switch (encoding) {
        .hex => try encodeHex(out),
        .base64 => try encodeBase64(out),
        .sha256 => try digest(out),
    }
    try out.writeAll("\n");
}

fn encodeHex(out: std.fs.File) !void {
    var chunk: [chunk_bytes]u8 = undefined;
    while (true) {
        const bytes = try readChunk(&chunk);
        if (bytes.len == 0) return;
        var digits: [2 * chunk_bytes]u8 = undefined;
        for (bytes, 0..) |byte, i| digits[2 * i ..][0..2].* = std.fmt.hex(byte);
        try out.writeAll(digits[0 .. 2 * bytes.len]);
    }
}

fn encodeBase64(out: std.fs.File) !void {
    const encoder = std.base64.standard.Encoder;
    var chunk: [chunk_bytes]u8 = undefined;
    while (true) {
        const bytes = try readChunk(&chunk);
        if (bytes.len == 0) return;
        var text: [encoder.calcSize(chunk_bytes)]u8 = undefined;
        try out.writeAll(encoder.encode(&text, bytes));
    }
}

fn digest(out: std.fs.File) !void {
    var hasher = std.crypto.hash.sha2.Sha256.init(.{});
    var chunk: [chunk_bytes]u8 = undefined;
    while (true) {
        const bytes = try readChunk(&chunk);
        if (bytes.len == 0) break;
        hasher.update(bytes);
    }
    try out.writeAll(&std.fmt.bytesToHex(hasher.finalResult(), .lower));
}

/// Fills `chunk` from the request body; shorter only at the end.
fn readChunk(chunk: []u8) ![]u8 {
    return chunk[0..try std.fs.File.stdin().readAll(chunk)];
}
