//! The string literals of a Rust source, with what they stand in: enough of a reader for the checks of this directory.

/// A string literal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    /// The line that it begins in, from 1.
    pub(crate) line: usize,
    /// Its text, escapes resolved.
    pub(crate) text: String,
    /// What stands before each bracket around it, outermost first, with the bracket: `tracing::warn!(`.
    pub(crate) inside: Vec<String>,
}

/// All string literals of a source but those of its tests.
pub(crate) fn literals(source: &str) -> Vec<Literal> {
    let source = &source[..own(source)];
    let mut reader = Reader {
        source,
        at: 0,
        inside: Vec::new(),
        found: Vec::new(),
    };
    while reader.at < source.len() {
        reader.step();
    }
    reader.found
}

/// Where the tests at the end begin.
fn own(source: &str) -> usize {
    let tests = source.match_indices("\n#[cfg(test)]\nmod ").find(|(at, start)| {
        let rest = &source[at + start.len()..];
        rest.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    tests.map_or(source.len(), |(at, _)| at)
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    inside: Vec<String>,
    found: Vec<Literal>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn step(&mut self) {
        let rest = self.rest();
        let first = rest.chars().next().unwrap();
        if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if let Some(hashes) = self.raw() {
            let begin = self.at + rest.find('"').unwrap() + 1;
            let end = format!("\"{hashes}");
            let length = self.source[begin..].find(&end).unwrap();
            self.keep(self.source[begin..begin + length].to_owned());
            self.at = begin + length + end.len();
        } else if first == '"' {
            self.plain();
        } else if first == '\'' {
            self.at += letter(rest).unwrap_or(1);
        } else {
            match first {
                '(' | '[' | '{' => self.inside.push(format!("{}{first}", self.before())),
                ')' | ']' | '}' => drop(self.inside.pop()),
                _ => {}
            }
            self.at += first.len_utf8();
        }
    }

    /// The `#` of a raw string that begins here.
    fn raw(&self) -> Option<String> {
        let is_word = |found: char| found.is_alphanumeric() || found == '_';
        let before = self.source[..self.at].chars().next_back();
        let rest = self.rest().strip_prefix('b').unwrap_or(self.rest());
        let rest = rest.strip_prefix('r')?;
        let hashes: String = rest.chars().take_while(|found| *found == '#').collect();
        (rest[hashes.len()..].starts_with('"') && !before.is_some_and(is_word)).then_some(hashes)
    }

    /// The path or the macro that stands before a bracket.
    fn before(&self) -> &str {
        let before = self.source[..self.at].trim_end();
        let is_part = |found: char| found.is_alphanumeric() || "_:.#!".contains(found);
        let start = before
            .rfind(|found| !is_part(found))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        &before[start..]
    }

    fn plain(&mut self) {
        let begin = self.at;
        let mut text = String::new();
        let mut letters = self.rest()[1..].char_indices();
        let mut end = self.source.len();
        while let Some((at, found)) = letters.next() {
            match found {
                '"' => {
                    end = begin + 1 + at + 1;
                    break;
                }
                '\\' => match letters.next().unwrap().1 {
                    '\n' => {
                        let skipped = letters.as_str();
                        let blank = skipped.len() - skipped.trim_start().len();
                        skip(&mut letters, skipped[..blank].chars().count());
                    }
                    'u' => {
                        let code = letters
                            .as_str()
                            .trim_start_matches('{')
                            .split('}')
                            .next()
                            .unwrap();
                        text.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
                        skip(&mut letters, code.len() + 2);
                    }
                    'x' => {
                        let code = &letters.as_str()[..2];
                        text.push(char::from(u8::from_str_radix(code, 16).unwrap()));
                        skip(&mut letters, 2);
                    }
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    same => text.push(same),
                },
                found => text.push(found),
            }
        }
        self.keep(text);
        self.at = end;
    }

    fn keep(&mut self, text: String) {
        self.found.push(Literal {
            line: self.source[..self.at].matches('\n').count() + 1,
            text,
            inside: self.inside.clone(),
        });
    }
}

fn skip(letters: &mut std::str::CharIndices<'_>, count: usize) {
    for _ in 0..count {
        let _skipped = letters.next();
    }
}

/// How long the letter in quotation marks is that begins here; none if it is a lifetime.
fn letter(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        return Some(rest[2..].find('\'').map(|end| end + 3)?.max(4));
    }
    let (at, end) = letters.next()?;
    (end == '\'').then_some(at + 1)
}

#[test]
fn literals_are_found_with_what_they_stand_in() {
    let source = "// \"no\"\nfn a<'a>() { warn!(b = 'x', \"a \\\"b\\\" \\\n   c\"); x(r#\"ra\"w\"#, '\"', '\\'', \"\\u{e9}\\x41\") }\n#[error(\"y\")]";
    let found: Vec<(usize, String, String)> = literals(source)
        .into_iter()
        .map(|found| (found.line, found.text, found.inside.join(" ")))
        .collect();
    let expected = [
        (2, "a \"b\" c", "({ warn!("),
        (3, "ra\"w", "({ x("),
        (3, "éA", "({ x("),
        (4, "y", "#[ error("),
    ];
    let expected = expected.map(|(line, text, inside)| (line, text.to_owned(), inside.to_owned()));
    let found: Vec<_> = found
        .into_iter()
        .map(|(line, text, inside)| (line, text, inside.replace("{ {", "{")))
        .collect();
    assert_eq!(
        found.iter().map(|f| (f.0, f.1.clone())).collect::<Vec<_>>(),
        expected.iter().map(|f| (f.0, f.1.clone())).collect::<Vec<_>>()
    );
    assert!(found[0].2.ends_with("warn!(") && found[1].2.ends_with("x(") && found[3].2 == "#[ error(");
}
