//! A message before and after the gateway, line by line, with the changed bytes marked.

use std::fmt::Write;
use std::ops::Range;

/// How marks are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marks {
    /// Terminal colours.
    Colour,
    /// A line of `^` under the changed bytes.
    Carets,
}

/// Unchanged lines that are left around a gap, on either side.
const CONTEXT: usize = 2;

/// How many comparisons are made to find what two texts have in common, before memory gets scarce.
const MOST_COMPARED: usize = 4 * 1024 * 1024;

/// Draws the difference: unchanged lines once, changed lines as `-` and `+` with the changed bytes
/// marked. Line ends are left out, and bytes that cannot be printed are escaped. Without `whole`,
/// long runs of unchanged lines are left out.
pub fn render(before: &[u8], after: &[u8], marks: Marks, whole: bool) -> String {
    let parts = lines(before, after);
    let same = |part: &Part| matches!(part, Part::Same(_));
    let mut text = String::new();
    for run in parts.chunk_by(|one, next| same(one) == same(next)) {
        if whole || !same(&run[0]) || run.len() <= 4 * CONTEXT {
            draw(&mut text, run, marks);
            continue;
        }
        draw(&mut text, &run[..CONTEXT], marks);
        let left_out = run.len() - 2 * CONTEXT;
        _ = writeln!(text, "      ... {left_out} lines unchanged");
        draw(&mut text, &run[run.len() - CONTEXT..], marks);
    }
    text
}

fn draw(text: &mut String, parts: &[Part], marks: Marks) {
    for part in parts {
        match part {
            Part::Same(line) => push(text, "      ", line, &[], Marks::Carets),
            Part::Changed(old, new) => {
                let (gone, come) = changed_bytes(old, new);
                let (red, green) = match marks {
                    Marks::Colour => ("    \x1b[31m- ", "    \x1b[32m+ "),
                    Marks::Carets => ("    - ", "    + "),
                };
                // Carets under one of the two lines are enough to see where they differ.
                let under_old = if come.is_empty() || marks == Marks::Colour {
                    gone
                } else {
                    Vec::new()
                };
                push(text, red, old, &under_old, marks);
                push(text, green, new, &come, marks);
            }
            Part::Gone(line) => push_whole(text, '-', line, marks),
            Part::Come(line) => push_whole(text, '+', line, marks),
        }
    }
}

/// How many lines differ.
pub fn changed_lines(before: &[u8], after: &[u8]) -> usize {
    lines(before, after)
        .iter()
        .filter(|part| !matches!(part, Part::Same(_)))
        .count()
}

#[derive(PartialEq, Debug)]
enum Part {
    Same(String),
    Changed(String, String),
    Gone(String),
    Come(String),
}

/// Pairs the lines of both sides; a removed line that an added one follows counts as changed.
fn lines(before: &[u8], after: &[u8]) -> Vec<Part> {
    let before: Vec<&[u8]> = before.split_inclusive(|&byte| byte == b'\n').collect();
    let after: Vec<&[u8]> = after.split_inclusive(|&byte| byte == b'\n').collect();
    let mut parts = Vec::new();
    for (old, new) in regions(&before, &after) {
        let (old, new) = (&before[old], &after[new]);
        if old == new {
            parts.extend(old.iter().map(|line| Part::Same(printable(line))));
            continue;
        }
        for at in 0..old.len().max(new.len()) {
            parts.push(match (old.get(at), new.get(at)) {
                (Some(old), Some(new)) => Part::Changed(printable(old), printable(new)),
                (Some(old), None) => Part::Gone(printable(old)),
                (None, Some(new)) => Part::Come(printable(new)),
                (None, None) => break,
            });
        }
    }
    parts
}

/// The changed characters of two lines; addresses and words are compared as a whole, so that
/// `192.168.122.3` to `10.1.1.1` is one mark and not four.
fn changed_bytes(old: &str, new: &str) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (old, new) = (words(old), words(new));
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for (from, to) in regions(&old, &new) {
        if old[from.clone()] != new[to.clone()] {
            gone.extend(span(&old, from));
            come.extend(span(&new, to));
        }
    }
    (gone, come)
}

fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let end = if inner(first) {
            rest.find(|c: char| !inner(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(end);
        words.push(word);
        rest = tail;
    }
    words
}

/// The columns that the words of a range take up, unless it is empty.
fn span(words: &[&str], range: Range<usize>) -> Option<Range<usize>> {
    let columns = |words: &[&str]| words.iter().map(|word| word.chars().count()).sum::<usize>();
    let start = columns(&words[..range.start]);
    let end = start + columns(&words[range]);
    (start < end).then_some(start..end)
}

/// Cuts both sequences into regions that are alternately equal and different, by their longest
/// common subsequence.
fn regions<T: PartialEq>(old: &[T], new: &[T]) -> Vec<(Range<usize>, Range<usize>)> {
    if old.len().saturating_mul(new.len()) > MOST_COMPARED {
        return pairs(old, new);
    }
    let width = new.len() + 1;
    // longest[i * width + j]: length of the common subsequence of old[i..] and new[j..].
    let mut longest = vec![0_usize; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if old[i] == new[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut regions = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let (from, to) = (i, j);
        while i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        }
        if (from, to) == (i, j) {
            while i < old.len() || j < new.len() {
                if i < old.len() && j < new.len() && old[i] == new[j] {
                    break;
                }
                let down = i < old.len() && longest[(i + 1) * width + j] == longest[i * width + j];
                (i, j) = if down || j == new.len() {
                    (i + 1, j)
                } else {
                    (i, j + 1)
                };
            }
        }
        regions.push((from..i, to..j));
    }
    regions
}

/// The same place by place, without looking for what has moved.
fn pairs<T: PartialEq>(old: &[T], new: &[T]) -> Vec<(Range<usize>, Range<usize>)> {
    let both = old.len().min(new.len());
    let mut regions = Vec::new();
    let mut at = 0;
    while at < both {
        let same = old[at] == new[at];
        let run = (at..both).take_while(|index| (old[*index] == new[*index]) == same);
        let end = at + run.count();
        regions.push((at..end, at..end));
        at = end;
    }
    if old.len() != new.len() {
        regions.push((both..old.len(), both..new.len()));
    }
    regions
}

/// A line without its end, with what cannot be printed escaped.
pub fn printable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::new();
    for character in String::from_utf8_lossy(line).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

fn push(text: &mut String, prefix: &str, line: &str, changed: &[Range<usize>], marks: Marks) {
    let is_changed = |column: usize| changed.iter().any(|range| range.contains(&column));
    if marks == Marks::Carets {
        _ = writeln!(text, "{}", format!("{prefix}{line}").trim_end());
        if let Some(last) = changed.last() {
            let carets: String = (0..last.end)
                .map(|column| if is_changed(column) { '^' } else { ' ' })
                .collect();
            _ = writeln!(text, "      {carets}");
        }
        return;
    }
    text.push_str(prefix);
    let mut lit = false;
    for (column, character) in line.chars().enumerate() {
        if is_changed(column) != lit {
            lit = !lit;
            // Reverse video on and off: the line keeps its own colour.
            text.push_str(if lit { "\x1b[7m" } else { "\x1b[27m" });
        }
        text.push(character);
    }
    text.push_str("\x1b[0m\n");
}

fn push_whole(text: &mut String, sign: char, line: &str, marks: Marks) {
    let all = 0..line.chars().count();
    let colour = match (marks, sign) {
        (Marks::Carets, _) => "",
        (Marks::Colour, '-') => "\x1b[31m",
        (Marks::Colour, _) => "\x1b[32m",
    };
    push(text, &format!("    {colour}{sign} "), line, &[all], marks);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &[u8] = b"INVITE sip:bob@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.122.3:5060;branch=1\r\nl: 133\r\n\r\n";
    const AFTER: &[u8] = b"INVITE sip:bob@10.1.1.2 SIP/2.0\r\nVia: SIP/2.0/TCP 10.1.1.1:5062;branch=1\r\nl: 133\r\n\r\n";

    #[test]
    fn changed_bytes_are_underlined_and_unchanged_lines_appear_once() {
        assert_eq!(
            render(BEFORE, AFTER, Marks::Carets, true),
            "      INVITE sip:bob@10.1.1.2 SIP/2.0\n    \
             - Via: SIP/2.0/TCP 192.168.122.3:5060;branch=1\n    \
             + Via: SIP/2.0/TCP 10.1.1.1:5062;branch=1\n      \
             \x20                ^^^^^^^^ ^^^^\n      \
             l: 133\n\n"
        );
        assert_eq!(changed_lines(BEFORE, AFTER), 1);
    }

    #[test]
    fn changed_bytes_are_lit_in_colour() {
        let text = render(
            b"c=IN IP4 192.168.122.3\r\n",
            b"c=IN IP4 10.1.1.1\r\n",
            Marks::Colour,
            true,
        );
        assert_eq!(
            text,
            "    \x1b[31m- c=IN IP4 \x1b[7m192.168.122.3\x1b[0m\n    \
             \x1b[32m+ c=IN IP4 \x1b[7m10.1.1.1\x1b[0m\n"
        );
    }

    #[test]
    fn equal_messages_have_no_marks() {
        assert_eq!(changed_lines(BEFORE, BEFORE), 0);
        assert!(!render(BEFORE, BEFORE, Marks::Carets, true).contains('^'));
    }

    #[test]
    fn an_added_line_is_marked_whole_and_moves_no_other() {
        let text = render(b"a\nb\n", b"a\nnew\nb\n", Marks::Carets, true);
        assert_eq!(text, "      a\n    + new\n      ^^^\n      b\n");
        assert_eq!(changed_lines(b"a\nnew\nb\n", b"a\nb\n"), 1);
    }

    #[test]
    fn a_shortened_line_is_marked_where_it_was_longer() {
        let text = render(b"a;gone\n", b"a\n", Marks::Carets, true);
        assert_eq!(text, "    - a;gone\n       ^^^^^\n    + a\n");
    }

    #[test]
    fn long_unchanged_runs_are_left_out_unless_the_whole_is_wanted() {
        let before: String = (0..12).map(|line| format!("{line}\n")).collect();
        let after = before.replace("11", "99");
        let text = render(before.as_bytes(), after.as_bytes(), Marks::Carets, false);
        let start = "      0\n      1\n      ... 7 lines unchanged\n      9\n      10\n    - 11\n";
        assert!(text.starts_with(start), "{text}");
        let text = render(before.as_bytes(), after.as_bytes(), Marks::Carets, true);
        assert!(!text.contains("..."), "{text}");
    }

    #[test]
    fn very_long_messages_are_compared_line_by_line() {
        let before = b"\n".repeat(100_000);
        let mut after = before.clone();
        after.insert(50_000, b'a');
        assert_eq!(changed_lines(&before, &after), 1);
        after.extend(b"more\n");
        assert_eq!(changed_lines(&before, &after), 2);
    }

    #[test]
    fn control_bytes_are_shown_escaped() {
        assert!(render(b"a\x1b[2J\n", b"a\x1b[2J\n", Marks::Carets, true).contains("\\u{1b}[2J"));
    }
}
