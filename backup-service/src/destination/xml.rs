//! Answers in XML, as a tree of elements. Pure.
//!
//! **Invariants:** an answer makes no more elements than [`MOST`] and none deeper than [`DEEPEST`]; nothing that it
//! refers to is fetched, and entities of its own mean nothing.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Most elements of an answer: a page of a list has a few thousand.
const MOST: usize = 500_000;

/// Deepest element.
const DEEPEST: usize = 32;

/// An element: names are without their namespace's prefix.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Self>,
}

impl Element {
    /// Reads an answer; none if it is no XML.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_str(std::str::from_utf8(bytes).ok()?);
        let mut open = vec![Self::default()];
        let mut made = 0;
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    open.push(Self::named(&start));
                    made += 1;
                }
                Event::Empty(start) => {
                    open.last_mut()?.children.push(Self::named(&start));
                    made += 1;
                }
                Event::End(_) => {
                    let done = open.pop()?;
                    open.last_mut()?.children.push(done);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => open.last_mut()?.text.push(meant(&reference)?),
                Event::Eof => break,
                _ => {}
            }
            if made > MOST || open.len() > DEEPEST {
                return None;
            }
        }
        let document = open.pop().filter(|_| open.is_empty())?;
        document.children.into_iter().next()
    }

    fn named(start: &BytesStart<'_>) -> Self {
        Self {
            name: start.local_name().into_inner().to_owned(),
            ..Self::default()
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The text directly in it, without blanks around it.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    /// The elements of a name directly in it.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first of them.
    pub(super) fn one(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first of them; empty if there is none.
    pub(super) fn said(&self, name: &str) -> &str {
        self.one(name).map_or("", Self::text)
    }
}

/// The character that a reference stands for.
fn meant(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(c) = reference.resolve_char_ref().ok()? {
        return Some(c);
    }
    match &**reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_read_whatever_its_prefixes_are() {
        for answer in [
            "<?xml version=\"1.0\"?>\n<D:a xmlns:D=\"DAV:\"><D:b>x &amp; y&#x21;</D:b><D:c/><D:b> z </D:b></D:a>",
            "<a xmlns=\"DAV:\"><b><![CDATA[x & y!]]></b><c></c><b>z</b></a>",
        ] {
            let read = Element::read(answer.as_bytes()).unwrap();
            assert_eq!((read.name(), read.said("b"), read.said("d")), ("a", "x & y!", ""));
            assert_eq!(
                read.all("b").map(Element::text).collect::<Vec<_>>(),
                ["x & y!", "z"]
            );
            assert!(read.one("c").is_some());
        }
    }

    #[test]
    fn what_grows_or_asks_for_more_is_refused() {
        let bomb =
            "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c SYSTEM \"file:///etc/passwd\">]><a>&b;&c;</a>";
        let deep = "<a>".repeat(DEEPEST + 1) + &"</a>".repeat(DEEPEST + 1);
        for answer in [bomb, &deep, "", "no XML", "<a><b></a>", "<a>", "\u{feff}"] {
            assert_eq!(Element::read(answer.as_bytes()), None, "{answer}");
        }
        let many = format!("<a>{}</a>", "<b/>".repeat(MOST));
        assert_eq!(Element::read(many.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(answer: Vec<u8>) {
            let _ = Element::read(&answer);
        }
    }
}
