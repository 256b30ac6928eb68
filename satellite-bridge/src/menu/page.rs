//! What is seen: lines with a style, put together to a page and laid out on a screen.
//!
//! **Invariant:** pure; text from outside loses control characters and whatever else could steer a terminal or a reader
//! here, before it can reach the screen. Our own texts are broken into lines, never cut.

/// The screen that every page fits on.
pub(super) const WIDTH: usize = 80;
/// Lines of it.
pub(super) const HEIGHT: usize = 24;
/// Stands where a text from outside was cut.
pub(super) const CUT: char = '~';

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Strong,
    /// Reversed: what Enter takes, and the head of a page.
    Marked,
    /// What a person should read.
    Warning,
}

/// A line of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// A page: its head, its lines, and which keys do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    pub(super) foot: String,
    /// Line and column of the cursor; it is hidden without.
    pub(super) cursor: Option<(usize, usize)>,
}

/// What is drawn: exactly as many lines as the screen has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) lines: Vec<Line>,
    pub(super) cursor: Option<(usize, usize)>,
}

impl Page {
    /// A page with a head and the keys that lead away from it.
    pub(super) fn new(title: impl Into<String>, foot: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            foot: foot.into(),
            ..Self::default()
        }
    }

    /// Adds a line as it is; text from outside goes through [`fit`] before.
    pub(super) fn line(&mut self, text: impl Into<String>, style: Style) {
        self.lines.push(Line {
            text: text.into(),
            style,
        });
    }

    pub(super) fn blank(&mut self) {
        self.line("", Style::Plain);
    }

    /// Adds a text of ours, broken at blanks.
    pub(super) fn text(&mut self, text: &str) {
        self.styled(text, Style::Plain);
    }

    pub(super) fn styled(&mut self, text: &str, style: Style) {
        for line in wrap(text, WIDTH - 2) {
            self.line(format!(" {line}"), style);
        }
    }

    /// Adds a name and its value from outside, over two lines if the value is long.
    pub(super) fn row(&mut self, label: usize, name: &str, value: &str) {
        let space = WIDTH - label - 3;
        let mut values = pieces(value, space, 2).into_iter();
        let first = values.next().unwrap_or_default();
        self.line(format!(" {} {first}", pad(name, label)), Style::Plain);
        for more in values {
            self.line(format!(" {} {more}", pad("", label)), Style::Plain);
        }
    }

    /// How it looks on a screen of this size.
    pub(super) fn frame(&self, width: usize, height: usize) -> Frame {
        let body = height.saturating_sub(2);
        let mut lines = vec![Line {
            text: pad(&format!(" {}", self.title), width),
            style: Style::Marked,
        }];
        // A page that is longer than the screen moves with its mark or its cursor.
        let focus = self.cursor.map(|(line, _)| line);
        let marked = self.lines.iter().position(|line| line.style == Style::Marked);
        let focus = focus.or(marked).unwrap_or(0);
        let skip = focus.saturating_sub(body.saturating_sub(1));
        let shown = self.lines.iter().skip(skip).take(body);
        lines.extend(shown.map(|line| {
            let text = match line.style {
                Style::Marked => pad(&line.text, width),
                _ => line.text.clone(),
            };
            Line {
                text: crop(&text, width),
                style: line.style,
            }
        }));
        lines.resize(
            height.saturating_sub(1),
            Line {
                text: String::new(),
                style: Style::Plain,
            },
        );
        lines.push(Line {
            text: crop(&format!(" {}", self.foot), width),
            style: Style::Strong,
        });
        let cursor = self
            .cursor
            .map(|(line, column)| (line.saturating_sub(skip) + 1, column));
        Frame { lines, cursor }
    }
}

/// `text` without what could steer a terminal or turn the order of letters: control characters, marks of direction,
/// and what takes no room.
pub(super) fn clean(text: &str) -> String {
    let is_safe = |character: &char| {
        let hidden = matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
        !(character.is_control() || hidden)
    };
    text.chars()
        .map(|character| {
            if character == '\t' || character == '\n' {
                ' '
            } else {
                character
            }
        })
        .filter(is_safe)
        .collect()
}

/// A text from outside in one line of at most `width` columns; a cut is seen.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    if columns(&text) <= width {
        return text;
    }
    let mut short = crop(&text, width.saturating_sub(1));
    short.push(CUT);
    short
}

/// A text from outside over at most `most` lines of `width` columns.
pub(super) fn pieces(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut rest = clean(text);
    let mut found = Vec::new();
    while !rest.is_empty() && found.len() + 1 < most {
        let mut piece = crop(&rest, width);
        if piece.len() < rest.len()
            && let Some(blank) = piece.rfind(' ').filter(|at| *at > 0)
        {
            piece.truncate(blank);
        }
        rest = rest
            .get(piece.len()..)
            .unwrap_or_default()
            .trim_start()
            .to_owned();
        found.push(piece);
    }
    if !rest.is_empty() {
        found.push(fit(&rest, width));
    }
    found
}

/// A text of ours, broken at blanks into lines of at most `width` columns.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// `text` followed by blanks up to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Columns that `text` takes.
pub(super) fn columns(text: &str) -> usize {
    console::measure_text_width(text)
}

/// As much of `text` as fits into `width` columns.
fn crop(text: &str, width: usize) -> String {
    let mut used = 0;
    let mut kept = String::new();
    let mut buffer = [0; 4];
    for character in text.chars() {
        used += columns(character.encode_utf8(&mut buffer));
        if used > width {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_from_outside_cannot_steer_the_terminal() {
        let evil = "\u{1b}[2J\u{9b}31m\u{202e}gnp.exe\u{200b}\r\n\u{7}ok";
        assert_eq!(fit(evil, 40), "[2J31mgnp.exe ok");
    }

    #[test]
    fn a_cut_is_seen_and_wide_characters_count_twice() {
        assert_eq!(fit("abcdef", 4), "abc~");
        assert_eq!(fit("日本語", 5), "日本~");
        assert_eq!(fit("日本語", 6), "日本語");
    }

    #[test]
    fn a_long_value_takes_two_lines_and_is_cut_after_them() {
        assert_eq!(pieces("one two three", 8, 2), ["one two", "three"]);
        assert_eq!(pieces("0123456789012345", 5, 2), ["01234", "5678~"]);
        assert_eq!(pieces("", 5, 2), Vec::<String>::new());
    }

    #[test]
    fn a_page_longer_than_the_screen_moves_with_its_mark() {
        let mut page = Page::new("t", "f");
        for number in 0..40 {
            let style = if number == 30 { Style::Marked } else { Style::Plain };
            page.line(number.to_string(), style);
        }
        let frame = page.frame(WIDTH, HEIGHT);
        assert_eq!(frame.lines.len(), HEIGHT);
        assert!(frame.lines.iter().any(|line| line.text.trim() == "30"));
    }

    proptest! {
        #[test]
        fn whatever_a_page_holds_it_fits_the_screen(
            texts in prop::collection::vec(".*", 0..40),
            width in 20_usize..200,
            height in 3_usize..60,
        ) {
            let mut page = Page::new("title", "foot");
            for text in &texts {
                page.line(fit(text, 60), Style::Plain);
                page.row(12, "name", text);
            }
            let frame = page.frame(width, height);
            prop_assert_eq!(frame.lines.len(), height);
            for line in frame.lines {
                prop_assert!(columns(&line.text) <= width);
                prop_assert!(!line.text.chars().any(char::is_control));
            }
        }
    }
}
