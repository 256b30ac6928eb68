//! Bytes of a terminal, turned into key presses.
//!
//! **Invariant:** pure, and nothing that is pasted or sent is interpreted: what is not one of the few keys of [`Press`]
//! is swallowed, whole sequences included, and control characters never become text.

/// Bytes of a sequence that are waited for; a longer one is not one of ours.
const LONGEST_SEQUENCE: usize = 32;

/// A key that the menu knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    /// A printable character.
    Char(char),
    Enter,
    Escape,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    Backspace,
    Delete,
    Tab,
    BackTab,
    /// Ctrl-L: draw everything anew.
    Redraw,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC O.
    Single,
    /// After ESC [.
    Sequence(Vec<u8>),
    /// After ESC [ [: function keys of the Linux console have one more byte.
    Function,
    /// Inside a string (ESC ], ESC P, ESC X, ESC ^, ESC _), until its end; `true` after ESC.
    Text(bool),
    /// Inside a UTF-8 character: its bytes so far, and how many it has.
    Character(Vec<u8>, usize),
}

/// Reads one byte after the other.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
}

impl Decoder {
    /// The key that `byte` completes, if it does.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Press> {
        match std::mem::take(&mut self.state) {
            State::Ground => self.ground(byte),
            State::Escape => self.escape(byte),
            State::Single => of_letter(byte),
            State::Function => None,
            State::Sequence(bytes) => self.sequence(bytes, byte),
            State::Text(escaped) => {
                let is_over = byte == 0x07 || (escaped && byte == b'\\');
                if !is_over {
                    self.state = State::Text(byte == 0x1b);
                }
                None
            }
            State::Character(bytes, length) => self.character(bytes, length, byte),
        }
    }

    /// Whether more bytes are needed to know the key.
    pub(super) fn is_waiting(&self) -> bool {
        !matches!(self.state, State::Ground)
    }

    /// No byte came for a while: an ESC was the key, anything else was cut off.
    pub(super) fn idle(&mut self) -> Option<Press> {
        match std::mem::take(&mut self.state) {
            State::Escape => Some(Press::Escape),
            _ => None,
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Press> {
        match byte {
            b'\r' | b'\n' => Some(Press::Enter),
            b'\t' => Some(Press::Tab),
            0x08 | 0x7f => Some(Press::Backspace),
            0x0c => Some(Press::Redraw),
            0x1b => {
                self.state = State::Escape;
                None
            }
            0x20..=0x7e => Some(Press::Char(char::from(byte))),
            0xc2..=0xf4 => {
                let length = match byte {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    _ => 4,
                };
                self.state = State::Character(vec![byte], length);
                None
            }
            // Interrupt, suspend, quit and all other control characters; bytes that start nothing.
            _ => None,
        }
    }

    fn escape(&mut self, byte: u8) -> Option<Press> {
        match byte {
            b'[' => self.state = State::Sequence(Vec::new()),
            b'O' => self.state = State::Single,
            b']' | b'P' | b'X' | b'^' | b'_' => self.state = State::Text(false),
            0x1b => {
                self.state = State::Escape;
                return Some(Press::Escape);
            }
            // Alt with a key is nothing here.
            _ => {}
        }
        None
    }

    fn sequence(&mut self, mut bytes: Vec<u8>, byte: u8) -> Option<Press> {
        if bytes.is_empty() && byte == b'[' {
            self.state = State::Function;
            return None;
        }
        match byte {
            0x40..=0x7e => of_sequence(&bytes, byte),
            0x20..=0x3f => {
                // The rest of one that is too long is swallowed too.
                if bytes.len() < LONGEST_SEQUENCE {
                    bytes.push(byte);
                }
                self.state = State::Sequence(bytes);
                None
            }
            0x1b => {
                self.state = State::Escape;
                None
            }
            _ => None,
        }
    }

    fn character(&mut self, mut bytes: Vec<u8>, length: usize, byte: u8) -> Option<Press> {
        if !(0x80..=0xbf).contains(&byte) {
            return self.ground(byte);
        }
        bytes.push(byte);
        if bytes.len() < length {
            self.state = State::Character(bytes, length);
            return None;
        }
        let character = std::str::from_utf8(&bytes).ok()?.chars().next()?;
        (!character.is_control()).then_some(Press::Char(character))
    }
}

fn of_letter(byte: u8) -> Option<Press> {
    Some(match byte {
        b'A' => Press::Up,
        b'B' => Press::Down,
        b'C' => Press::Right,
        b'D' => Press::Left,
        b'H' => Press::Home,
        b'F' => Press::End,
        b'M' => Press::Enter,
        b'Z' => Press::BackTab,
        _ => return None,
    })
}

fn of_sequence(parameters: &[u8], last: u8) -> Option<Press> {
    if last != b'~' {
        // With Shift or Control (`1;5A`) it is the same key.
        return of_letter(last);
    }
    Some(match parameters {
        b"1" | b"7" => Press::Home,
        b"3" => Press::Delete,
        b"4" | b"8" => Press::End,
        b"5" => Press::PageUp,
        b"6" => Press::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn presses(bytes: &[u8]) -> Vec<Press> {
        let mut decoder = Decoder::default();
        let mut found: Vec<_> = bytes.iter().filter_map(|byte| decoder.feed(*byte)).collect();
        found.extend(decoder.idle());
        found
    }

    #[test]
    fn keys_of_linux_vt220_and_xterm_are_known() {
        use Press::*;
        for (bytes, key) in [
            (&b"\x1b[A"[..], Up),
            (b"\x1bOB", Down),
            (b"\x1b[1;5C", Right),
            (b"\x1b[D", Left),
            (b"\x1b[1~", Home),
            (b"\x1b[H", Home),
            (b"\x1b[4~", End),
            (b"\x1bOF", End),
            (b"\x1b[5~", PageUp),
            (b"\x1b[6~", PageDown),
            (b"\x1b[3~", Delete),
            (b"\x1b[Z", BackTab),
            (b"\x7f", Backspace),
            (b"\x08", Backspace),
            (b"\r", Enter),
            (b"\n", Enter),
            (b"\x1b", Escape),
            (b"\x0c", Redraw),
            ("ß".as_bytes(), Char('ß')),
        ] {
            assert_eq!(presses(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn interrupt_suspend_quit_and_function_keys_are_nothing() {
        for bytes in [
            &b"\x03"[..],
            b"\x1a",
            b"\x1c",
            b"\x04",
            b"\x11\x13",
            b"\x00",
            b"\x1b[[A",
            b"\x1b[11~",
            b"\x1bOP",
            b"\x1bc",
            b"\x9b",
        ] {
            assert_eq!(presses(bytes), [], "{bytes:?}");
        }
    }

    #[test]
    fn a_pasted_string_of_the_terminal_is_swallowed_whole() {
        assert_eq!(
            presses(b"\x1b]0;rm -rf /\x07a\x1bPq1;reboot\x1b\\b\x1b_x\x1b\\"),
            [Press::Char('a'), Press::Char('b')]
        );
        let long = [b"\x1b[".to_vec(), vec![b'1'; 10_000], b"mX".to_vec()].concat();
        assert_eq!(presses(&long), [Press::Char('X')]);
    }

    #[test]
    fn a_cut_character_does_not_hide_what_follows() {
        assert_eq!(presses(b"\xc3a"), [Press::Char('a')]);
        assert_eq!(presses(b"\xe2\x82\xac"), [Press::Char('€')]);
        // U+0085 and an overlong slash.
        assert_eq!(presses(b"\xc2\x85"), []);
        assert_eq!(presses(b"\xc0\xaf"), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_control_character(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for press in presses(&bytes) {
                if let Press::Char(character) = press {
                    prop_assert!(!character.is_control());
                }
            }
        }
    }
}
