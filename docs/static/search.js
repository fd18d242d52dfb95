// SPDX-License-Identifier: Apache-2.0
// An error message that is pasted into search: no page has all of its words, so Sphinx
// finds none. A line above the results leads to the page of errors, and to what was called.
document.addEventListener("DOMContentLoaded", () => {
  const results = document.querySelector("#search-results");
  const query = (new URLSearchParams(location.search).get("q") ?? "").trim();
  const [message, , called] =
    query.match(/^(\w*(?:Error|Warning):)?\s*(?:(?:nn\.|jaxnn\.)?([A-Za-z_][\w.]*):)?/);
  if (!results || !message || query.split(/\s+/).length < 4) return;
  const link = (address, text) => {
    const a = document.createElement("a");
    a.href = address;
    a.textContent = text;
    return a;
  };
  const line = document.createElement("p");
  line.id = "search-message";
  line.append("An error message? See ", link("errors.html", "Errors: what they say, and why"));
  if (called) {
    const search = `search.html?q=${encodeURIComponent(called)}`;
    line.append(", and ", link(search, called), ", which raised it");
  }
  line.append(".");
  results.before(line);
});
