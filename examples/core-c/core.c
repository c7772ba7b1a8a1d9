/* A checksum service on the bare ABI: the CRC-32 and length of the request body, as JSON.
 *
 * No C library, no allocator: the body passes through one buffer of 16 KiB, so a body of any length
 * takes the same memory. Imports that are not called are not in the module. */
#include "holm_core.h"

#define HEAD_BYTES_MAX 65536

static char request_head[HEAD_BYTES_MAX];
static uint8_t chunk[16384];

/* The host writes the request head here. One request at a time, so one place is enough; an address
 * outside the memory tells the host that the head is too long for us. */
HOLM_EXPORT(alloc) void *alloc(uint32_t size) {
  return size <= HEAD_BYTES_MAX ? request_head : (void *)UINT32_MAX;
}

/* CRC-32 as in zip and Ethernet (reflected polynomial 0xEDB88320), bit by bit: small, not fast. */
static uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, uint32_t len) {
  for (uint32_t i = 0; i < len; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return crc;
}

static char *put_text(char *at, const char *text) {
  while (*text) *at++ = *text++;
  return at;
}

static char *put_hex32(char *at, uint32_t value) {
  for (int shift = 28; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[(value >> shift) & 15];
  return at;
}

static char *put_decimal(char *at, uint64_t value) {
  char digits[20];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  while (n > 0) *at++ = digits[--n];
  return at;
}

HOLM_EXPORT(handle) int32_t handle(const char *head, uint32_t len) {
  (void)head, (void)len;
  uint32_t crc = UINT32_MAX;
  uint64_t body_bytes = 0;
  for (;;) {
    int32_t n = holm_request_read(chunk, sizeof chunk);
    if (n == 0) break;
    if (n < 0) return n; /* the upload broke off: there is no one to answer */
    crc = crc32_update(crc, chunk, (uint32_t)n);
    body_bytes += (uint32_t)n;
  }

  char answer[96], *end = answer;
  end = put_text(end, "{\"crc32\":\"");
  end = put_hex32(end, ~crc);
  end = put_text(end, "\",\"bytes\":");
  end = put_decimal(end, body_bytes);
  end = put_text(end, "}\n");

  static const char headers[] = "content-type: application/json\n";
  int32_t outcome = holm_response_head(200, headers, sizeof headers - 1);
  return outcome != 0 ? outcome : holm_response_write(answer, (uint32_t)(end - answer));
}
