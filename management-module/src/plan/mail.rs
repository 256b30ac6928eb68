//! What mails say: a letter is blocks of text, written once as plain text and once as HTML.
//!
//! **Invariant:** pure, and whatever a name or an error contains, it is text in the HTML.

pub mod report;
pub mod warning;
pub mod words;

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::language::Language;

/// A mail, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its subject: one line.
    pub subject: String,
    /// As plain text.
    pub plain: String,
    /// As HTML.
    pub html: String,
}

/// A piece of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A heading.
    Heading(&'static str),
    /// A paragraph.
    Paragraph(String),
    /// Names and what is to be said of them.
    Rows(Vec<(String, String)>),
    /// Things to do, in their order.
    Steps(Vec<String>),
    /// An address to open.
    Link(String),
}

impl Letter {
    /// Writes a letter. The subject is its title too.
    #[must_use]
    pub fn write(language: Language, subject: &str, blocks: &[Block]) -> Self {
        // A line break would end the header.
        let subject: String = subject
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let foot = language.say(words::FOOT);
        let mut plain = format!("{subject}\n\n");
        let (title, code) = (escaped(&subject), language.say(words::LANGUAGE));
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"{code}\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body style=\"font-family: sans-serif; line-height: 1.5; max-width: 40em\">\n<h1 style=\"font-size: 1.3em\">{title}</h1>\n"
        );
        for block in blocks {
            block.plain(language, &mut plain);
            block.html(&mut html);
        }
        let _ = write!(plain, "-- \n{foot}\n");
        let _ = write!(
            html,
            "<p><small>{}</small></p>\n</body>\n</html>\n",
            escaped(foot)
        );
        Self { subject, plain, html }
    }
}

impl Block {
    // Writing into a string does not fail.
    fn plain(&self, language: Language, text: &mut String) {
        match self {
            Self::Heading(heading) => {
                let _ = writeln!(text, "{heading}\n{}", "-".repeat(heading.chars().count()));
            }
            Self::Paragraph(paragraph) => {
                let _ = writeln!(text, "{paragraph}\n");
            }
            Self::Rows(rows) => {
                for (name, value) in rows {
                    let _ = writeln!(text, "{}", language.fill(words::ROW, &[name, value]));
                }
                text.push('\n');
            }
            Self::Steps(steps) => {
                for (number, step) in (1..).zip(steps) {
                    let _ = writeln!(text, "{number}. {step}");
                }
                text.push('\n');
            }
            Self::Link(address) => {
                let _ = writeln!(text, "{address}\n");
            }
        }
    }

    fn html(&self, text: &mut String) {
        match self {
            Self::Heading(heading) => {
                let _ = writeln!(text, "<h2 style=\"font-size: 1.1em\">{}</h2>", escaped(heading));
            }
            Self::Paragraph(paragraph) => {
                let _ = writeln!(text, "<p>{}</p>", escaped(paragraph));
            }
            Self::Rows(rows) => {
                text.push_str("<table cellpadding=\"4\">\n");
                for (name, value) in rows {
                    let (name, value) = (escaped(name), escaped(value));
                    let _ = writeln!(
                        text,
                        "<tr><th align=\"left\" valign=\"top\" scope=\"row\">{name}</th><td>{value}</td></tr>"
                    );
                }
                text.push_str("</table>\n");
            }
            Self::Steps(steps) => {
                text.push_str("<ol>\n");
                for step in steps {
                    let _ = writeln!(text, "<li>{}</li>", escaped(step));
                }
                text.push_str("</ol>\n");
            }
            Self::Link(address) => {
                let address = escaped(address);
                let _ = writeln!(text, "<p><a href=\"{address}\">{address}</a></p>");
            }
        }
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() && c != '\n' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A moment as the reader writes it, with the offset of the clock on that wall.
#[must_use]
pub fn moment(language: Language, time: Timestamp, zone: &TimeZone) -> String {
    let offset = time.to_zoned(zone.clone()).strftime("UTC%:z").to_string();
    format!("{} ({offset})", language.moment_in(time, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_contains_is_text() {
        let blocks = [
            Block::Paragraph("<script>alert('x')</script> & \"y\"".into()),
            Block::Rows(vec![("<b>".into(), "</td>".into())]),
            Block::Link("https://x/?a=1&b=\"2".into()),
        ];
        let letter = Letter::write(Language::En, "a\r\nBcc: all@x <i>", &blocks);
        assert_eq!(letter.subject, "a  Bcc: all@x <i>");
        for bad in ["<script", "<b>", "<i>", "b=\"2"] {
            assert!(!letter.html.contains(bad), "{bad}: {}", letter.html);
        }
        assert!(letter.plain.contains("<script>"));
    }

    #[test]
    fn times_are_written_as_the_reader_writes_them_with_their_zone() {
        let time: Timestamp = "2026-11-22T01:05:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let times = Language::ALL.map(|language| moment(language, time, &zone));
        assert_eq!(
            times,
            [
                "22 Nov 2026, 02:05 (UTC+01:00)",
                "22.11.2026, 02:05 (UTC+01:00)",
                "22/11/2026 à 02:05 (UTC+01:00)",
                "22/11/2026, 02:05 (UTC+01:00)"
            ]
        );
    }
}
