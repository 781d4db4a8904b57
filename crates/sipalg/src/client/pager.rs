//! Long answers, a page at a time.

use std::io::{self, Write};

/// What stands under a page.
pub(super) const MORE: &str = " --More-- ";

/// What is to be shown next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum More {
    /// A page.
    Page,
    /// A line.
    Line,
    /// Nothing.
    Stop,
}

impl More {
    /// What a key means: space a page, Enter a line, any other the end.
    pub(super) fn by(key: char) -> More {
        match key {
            ' ' => More::Page,
            '\r' | '\n' => More::Line,
            _ => More::Stop,
        }
    }
}

/// Shows `text` on a terminal of this many rows (0: all at once) and columns. `more` shows [`MORE`],
/// waits for a key and removes it again.
///
/// # Errors
/// Those of the terminal.
pub(super) fn show(
    text: &str,
    (rows, columns): (usize, usize),
    out: &mut impl Write,
    mut more: impl FnMut() -> io::Result<More>,
) -> io::Result<()> {
    // A row is left for what stands under the page.
    let page = rows.saturating_sub(1).max(1);
    let mut left = page;
    for line in text.split_inclusive('\n') {
        let needs = line
            .trim_end()
            .chars()
            .count()
            .div_ceil(columns.max(1))
            .max(1);
        if rows > 0 && left < needs.min(page) {
            out.flush()?;
            left = match more()? {
                More::Page => page,
                More::Line => needs,
                More::Stop => return Ok(()),
            };
        }
        out.write_all(line.as_bytes())?;
        left = left.saturating_sub(needs);
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of ten lines on a terminal of four rows and eight columns, under these keys.
    fn seen(text: &str, rows: usize, keys: &str) -> String {
        let mut keys = keys.chars();
        let seen = std::cell::RefCell::new(Vec::new());
        struct Screen<'s>(&'s std::cell::RefCell<Vec<u8>>);
        impl Write for Screen<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.borrow_mut().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let more = || {
            seen.borrow_mut().extend_from_slice(b"[more]");
            Ok(More::by(keys.next().expect("no more pages")))
        };
        show(text, (rows, 8), &mut Screen(&seen), more).unwrap();
        assert_eq!(keys.next(), None, "a key too many");
        String::from_utf8(seen.into_inner()).unwrap()
    }

    #[test]
    fn space_shows_a_page_enter_a_line_and_any_other_key_ends() {
        let text = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(
            seen(text, 4, "  "),
            "1\n2\n3\n[more]4\n5\n6\n[more]7\n8\n9\n"
        );
        assert_eq!(seen(text, 4, "\r\rq"), "1\n2\n3\n[more]4\n[more]5\n[more]");
        assert_eq!(seen(text, 4, "\rx"), "1\n2\n3\n[more]4\n[more]");
        assert_eq!(seen(text, 0, ""), text);
        assert_eq!(seen(text, 10, ""), text);
    }

    #[test]
    fn a_long_line_counts_for_the_rows_that_it_takes() {
        assert_eq!(seen("123456789\n2\n3\n", 4, " "), "123456789\n2\n[more]3\n");
        let longer = "x".repeat(100) + "\n";
        assert_eq!(seen(&longer, 4, ""), longer);
        assert_eq!(seen(&longer.repeat(2), 4, "q"), format!("{longer}[more]"));
    }
}
