// Greets on GET; on POST, counts the words of a text and answers the most frequent ones. Requests and
// responses are those of the Fetch standard, as in a browser's service worker.
addEventListener("fetch", (event) => event.respondWith(serve(event.request)));

const N_WORDS_SHOWN = 3;

async function serve(request) {
  const url = new URL(request.url);
  if (request.method === "GET") {
    const name = url.searchParams.get("name") ?? "world";
    return json({ greeting: `Hello, ${name}!`, language: "JavaScript" });
  }
  if (request.method === "POST") {
    return json({ words: mostFrequent(await request.text()) });
  }
  return json({ error: "use GET or POST" }, { status: 405, headers: { allow: "GET, POST" } });
}

/** The most frequent words of a text as `[word, count]`, ties in alphabetical order. */
function mostFrequent(text) {
  const counts = new Map();
  // This engine comes without the tables of Unicode, so a word is whatever is not between words.
  for (const word of text.toLowerCase().match(/[^\s.,;:!?"()]+/g) ?? []) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    .slice(0, N_WORDS_SHOWN);
}

function json(value, { status = 200, headers = {} } = {}) {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}
