/* Counts lines, words and bytes of the request body, as `wc` does, and answers JSON.
 *
 * A CGI program (RFC 3875) is all a function has to be: the request is in the environment and on
 * standard input, the answer goes to standard output. Standard error is the function's log. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
  const char *method = getenv("REQUEST_METHOD");
  if (method == NULL || strcmp(method, "POST") != 0) {
    printf("Status: 405 Method Not Allowed\r\n"
           "Allow: POST\r\n"
           "Content-Type: application/json\r\n\r\n"
           "{\"error\":\"send the text as the body of a POST\"}\n");
    return 0;
  }

  static char chunk[16384];
  unsigned long long lines = 0, words = 0, bytes = 0;
  int in_word = 0;
  size_t n;
  while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0) {
    bytes += n;
    for (size_t i = 0; i < n; i++) {
      unsigned char byte = (unsigned char)chunk[i];
      lines += byte == '\n';
      words += !isspace(byte) && !in_word;
      in_word = !isspace(byte);
    }
  }
  if (ferror(stdin)) {
    fprintf(stderr, "the body broke off after %llu bytes\n", bytes);
    return 1;
  }

  printf("Content-Type: application/json\r\n\r\n"
         "{\"lines\":%llu,\"words\":%llu,\"bytes\":%llu}\n",
         lines, words, bytes);
  return 0;
}
