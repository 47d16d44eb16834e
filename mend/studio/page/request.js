// Asking the server, for every part of the page.

// Answers come in lines of JSON: stages, then facts or an error.
export async function request(url, options, onStage = () => {}) {
  const lost = (error) => {
    throw error.name === "AbortError" ? error : new Error("The studio does not answer. Is “mend studio” still running?");
  };
  const response = await fetch(url, { method: "POST", ...options }).catch(lost);
  let text = "";
  let last = {};
  const decoder = new TextDecoder();
  const take = (line) => {
    if (!line) return;
    try {
      last = JSON.parse(line);
    } catch {
      throw new Error(`The studio's answer (${response.status}) cannot be read. Does another program answer at this address?`);
    }
    if (last.error) throw Object.assign(new Error(last.error), { status: response.status });
    if (last.stage) onStage(last.stage, last.share, last);
  };
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read().catch(lost);
    text += decoder.decode(value, { stream: !done });
    const lines = text.split("\n");
    text = done ? "" : lines.pop();
    lines.forEach(take);
    if (done) break;
  }
  if (!response.ok) throw new Error(`The studio answered with ${response.status}.`);
  return last.done ?? last;
}

// A function that asks an address again: its answer where that is another than the last, else null.
export function watch(url) {
  let last;
  return async () => {
    const answer = await request(url, { method: "GET" });
    const text = JSON.stringify(answer);
    if (text === last) return null;
    last = text;
    return answer;
  };
}

// A part of a sentence that advises to set an argument, such as `hole="black"`, for which the page has no control.
const ADVICE = /(^|[;:] )((if [^;:`]*, )?(add|give|pass|leave out) [^;:`]*`\w+[=`]|`\w+=\w+` makes ).*?(\.?)$/i;

// What the server says without such advice, which may be nothing.
const leaveOutAdvice = (text) => text.split(/(?<=\.) /).map((part) => part.replace(ADVICE, "$5")).filter((part) => /\w/.test(part)).join(" ");

// What the server says, as the page shows it: without advice, unless it is all, and with a capital at the start, but for a file's name.
export function sentence(text) {
  const said = (leaveOutAdvice(text) || text).replace(/`(\w+)`/g, "$1").replace(/`(\w+)=("[^"`]*"|[\d.]+|True|False)`/g, "$1 $2");
  return /^[a-z]+[ ,]/.test(said) ? said[0].toUpperCase() + said.slice(1) : said;
}

export const sentences = (notes) => notes.filter(leaveOutAdvice).map((note) => `${sentence(note)}.`).join(" ");
