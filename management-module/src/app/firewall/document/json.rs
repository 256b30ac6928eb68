//! Documents in JSON: turned into TOML value by value, with the place of each in the JSON.
//!
//! **Invariant:** what JSON says and what TOML says is checked by the same code.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Document, Fault};

/// A value of JSON whose fields keep their order: places are found by it.
enum Node {
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Leaf(Value),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Node::Object(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Node, A::Error> {
                let mut all = Vec::new();
                while let Some(part) = parts.next_element()? {
                    all.push(part);
                }
                Ok(Node::Array(all))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Leaf(text.into()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Leaf(value.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Leaf(number.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Leaf(number.into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
                Ok(Node::Leaf(number.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Leaf(Value::Null))
            }
        }

        from.deserialize_any(Any)
    }
}

/// Reads a document in JSON. Faults name lines of the JSON.
pub(super) fn parse(text: &str) -> Result<Document, Vec<Fault>> {
    let value: Node = serde_json::from_str(text)
        .map_err(|err| vec![(err.line().clamp(1, text.lines().count() + 1), err.to_string())])?;
    let Node::Object(top) = value else {
        return Err(vec![(1, "the document is not an object".to_owned())]);
    };
    let mut toml = Toml {
        text: String::new(),
        lines: Vec::new(),
        places: Places::of(text),
    };
    for (key, value) in &top {
        if !matches!(value, Node::Array(_)) {
            toml.assign(key, value);
        }
    }
    // Tables come after all else in TOML, wherever they stand in the JSON.
    toml.places.at = 0;
    for (key, value) in &top {
        let Node::Array(tables) = value else { continue };
        toml.places.of_key(key);
        for table in tables {
            toml.table(key, table);
        }
    }
    Document::parse(&toml.text).map_err(|faults| {
        let place = |line: usize| {
            toml.lines
                .get(line - 1)
                .or(toml.lines.last())
                .copied()
                .unwrap_or(1)
        };
        faults
            .into_iter()
            .map(|(line, fault)| (place(line), fault))
            .collect()
    })
}

/// The document as TOML, and for each of its lines the one of the JSON.
struct Toml {
    text: String,
    lines: Vec<usize>,
    places: Places,
}

impl Toml {
    fn table(&mut self, key: &str, table: &Node) {
        let first = self.places.of_value(table);
        self.line(&format!("[[{}]]", quoted(key)), first);
        match table {
            Node::Object(fields) => {
                for (key, value) in fields {
                    self.assign(key, value);
                }
            }
            other => self.line(&format!("\"\" = {}", literal(other)), first),
        }
    }

    fn assign(&mut self, key: &str, value: &Node) {
        // A value of several parts has a line for each, as its parts may stand on lines of their own.
        if let Node::Array(parts) = value {
            let first = self.places.of_key(key);
            self.line(&format!("{} = [", quoted(key)), first);
            for part in parts {
                let place = self.places.of_value(part).max(first);
                self.line(&format!("{},", literal(part)), place);
            }
            return self.line("]", first);
        }
        self.places.of_key(key);
        let place = self.places.of_value(value);
        self.line(&format!("{} = {}", quoted(key), literal(value)), place);
    }

    fn line(&mut self, text: &str, place: usize) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{text}");
        self.lines.push(place);
    }
}

fn quoted(text: &str) -> String {
    // A basic string of TOML and a string of JSON escape alike, but for what JSON leaves as it is.
    serde_json::to_string(text)
        .unwrap_or_default()
        .replace('\u{7f}', "\\u007f")
}

fn literal(value: &Node) -> String {
    match value {
        Node::Leaf(Value::String(text)) => quoted(text),
        Node::Leaf(Value::Number(number)) => number.to_string(),
        Node::Leaf(Value::Bool(value)) => value.to_string(),
        // None of them is part of a document: the check says so where it stands.
        Node::Leaf(_) | Node::Array(_) | Node::Object(_) => "{}".to_owned(),
    }
}

/// Where words of the JSON stand: each is looked for behind the one before, as objects are read in their order.
struct Places {
    text: String,
    at: usize,
}

impl Places {
    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            at: 0,
        }
    }

    fn of_key(&mut self, key: &str) -> usize {
        self.find(&quoted(key))
    }

    fn of_value(&mut self, value: &Node) -> usize {
        match value {
            Node::Object(_) => self.find("{"),
            Node::Array(_) => self.find("["),
            other => self.find(&literal(other)),
        }
    }

    /// The line of the next such word; what is written in another way than expected is where the search stands.
    fn find(&mut self, word: &str) -> usize {
        if let Some(found) = self.text[self.at..].find(word) {
            self.at += found + word.len();
        }
        1 + self.text[..self.at].matches('\n').count()
    }
}
