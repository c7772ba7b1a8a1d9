/* The host calls of `holm:core/1`, as docs/guide/core-abi.md specifies them. Copy this file into
 * functions of your own; it needs no C library. */
#ifndef HOLM_CORE_H
#define HOLM_CORE_H

#include <stdint.h>

#define HOLM_IMPORT(name) __attribute__((import_module("holm:core/1"), import_name(#name)))
#define HOLM_EXPORT(name) __attribute__((export_name(#name)))

enum holm_error {
  HOLM_NOT_FOUND = -1,
  HOLM_INVALID = -2,
  HOLM_WRONG_STATE = -3,
  HOLM_PEER_GONE = -4,
  HOLM_LIMIT = -5,
  HOLM_DENIED = -6,
  HOLM_UPSTREAM = -7,
  HOLM_TIMED_OUT = -8,
};

enum holm_level { HOLM_TRACE, HOLM_DEBUG, HOLM_INFO, HOLM_WARN, HOLM_ERROR };

HOLM_IMPORT(request_read) int32_t holm_request_read(void *ptr, uint32_t cap);
HOLM_IMPORT(response_head) int32_t holm_response_head(uint32_t status, const char *ptr, uint32_t len);
HOLM_IMPORT(response_write) int32_t holm_response_write(const void *ptr, uint32_t len);
HOLM_IMPORT(log) void holm_log(uint32_t level, const char *ptr, uint32_t len);
HOLM_IMPORT(env_get)
int32_t holm_env_get(const char *name_ptr, uint32_t name_len, char *ptr, uint32_t cap);
HOLM_IMPORT(random) int32_t holm_random(void *ptr, uint32_t len);
HOLM_IMPORT(clock_unix_ns) int64_t holm_clock_unix_ns(void);
HOLM_IMPORT(clock_monotonic_ns) int64_t holm_clock_monotonic_ns(void);
HOLM_IMPORT(sleep_ms) int32_t holm_sleep_ms(int32_t ms);
HOLM_IMPORT(fetch)
int32_t holm_fetch(const char *head_ptr, uint32_t head_len, const void *body_ptr, uint32_t body_len);
HOLM_IMPORT(fetch_head) int32_t holm_fetch_head(int32_t handle, char *ptr, uint32_t cap);
HOLM_IMPORT(fetch_read) int32_t holm_fetch_read(int32_t handle, void *ptr, uint32_t cap);
HOLM_IMPORT(fetch_close) int32_t holm_fetch_close(int32_t handle);

#endif
