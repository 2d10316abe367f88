// Which words of an utterance a caption shows.

/** The rest of a word; the signs of these scripts are words of their own. */
const REST_OF_WORD = /^[^\s\p{sc=Han}\p{sc=Hira}\p{sc=Kana}]*/u;
/** What a caption shows at a time: at most a sentence, and 64 letters, in whole words where there are such. */
const LINE = /\s*(?:.{15,63}?(?:[.!?](?=\s|$)|[。！？])|.{1,64}(?=\s|$)|.{1,64}|$)/gu;

/**
 * The text of an utterance whose words have begun after so many seconds: of a part under way a share, to the end of its last word. How long the
 * last part takes is not known: it is read at `pace` letters a second.
 */
export function begun(words, seconds, pace) {
  let length = 0;
  for (let first = 0; first < words.length && words[first].at <= seconds; ) {
    // Several parts stand at one time where the sound of all of them came at once.
    const { at } = words[first];
    const group = words.slice(first).filter((part) => part.at === at);
    first += group.length;
    const letters = group.reduce((sum, part) => sum + part.text.length, 0);
    const end = words[first]?.at ?? at + letters / pace;
    length += Math.ceil(letters * Math.min(1, (seconds - at) / (end - at)));
  }
  const text = words.map((part) => part.text).join("");
  return text.slice(0, length) + text.slice(length).match(REST_OF_WORD)[0];
}

/** The line of a sentence in which the letter before `place` stands, in two pieces: up to there, and the rest. */
export function line(text, place) {
  let start = 0;
  for (const [part] of text.matchAll(LINE)) {
    if (start + part.length >= place) return [text.slice(start, place), text.slice(place, start + part.length)];
    start += part.length;
  }
  return [text.slice(start, place), ""];
}
