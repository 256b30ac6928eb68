//! The languages that people are spoken to in: command line, web page, mails.
//!
//! **Invariant:** what programs read is never translated.

mod said;
mod steps;
mod text;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use self::said::{Piece, Said};
pub use self::steps::step_name;
pub use self::text::Text;
pub(crate) use self::text::texts;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Italian.
    It,
}

impl Language {
    /// All, in the order in which texts have them.
    pub const ALL: [Self; 4] = [Self::En, Self::De, Self::Fr, Self::It];

    /// Its code (ISO 639-1).
    #[must_use]
    pub fn code(self) -> &'static str {
        ["en", "de", "fr", "it"][self as usize]
    }

    /// The language of a code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// Its name in itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["English", "Deutsch", "Français", "Italiano"][self as usize]
    }

    /// The one of ours that a browser likes best, by its `Accept-Language`.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for part in header.split(',').take(32) {
            let mut pieces = part.split(';').map(str::trim);
            let tag = pieces.next().unwrap_or_default().to_ascii_lowercase();
            let primary = tag.split('-').next().unwrap_or_default();
            let Some(language) = Self::from_code(primary) else {
                continue;
            };
            let weight = pieces.find_map(|piece| piece.strip_prefix("q=")?.parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            // Of equal ones the first counts.
            if weight > 0.0 && best.is_none_or(|(found, _)| weight > found) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }

    /// A moment as the reader writes it, to the minute, by the clock of a zone.
    #[must_use]
    pub fn moment_in(self, time: Timestamp, zone: &TimeZone) -> String {
        let local = time.to_zoned(zone.clone());
        let (year, month, day) = (local.year(), local.month(), local.day());
        let (hour, minute) = (local.hour(), local.minute());
        match self {
            Self::En => {
                let names = [
                    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
                ];
                let at = usize::try_from(month - 1).unwrap_or_default();
                let name = names.get(at).copied().unwrap_or_default();
                format!("{day} {name} {year}, {hour:02}:{minute:02}")
            }
            Self::De => format!("{day:02}.{month:02}.{year}, {hour:02}:{minute:02}"),
            Self::Fr => format!("{day:02}/{month:02}/{year} à {hour:02}:{minute:02}"),
            Self::It => format!("{day:02}/{month:02}/{year}, {hour:02}:{minute:02}"),
        }
    }

    /// A size, in units of 1000 as disks are sold.
    #[must_use]
    pub fn size(self, bytes: u64) -> String {
        let units = match self {
            Self::Fr => ["o", "ko", "Mo", "Go", "To", "Po"],
            _ => ["B", "kB", "MB", "GB", "TB", "PB"],
        };
        let (mut scaled, mut unit) = (bytes, 0);
        let mut tenths = 0;
        while scaled >= 1000 && unit + 1 < units.len() {
            tenths = scaled % 1000 / 100;
            scaled /= 1000;
            unit += 1;
        }
        let unit_name = units.get(unit).copied().unwrap_or_default();
        if unit == 0 || scaled >= 100 {
            return format!("{scaled}\u{a0}{unit_name}");
        }
        let comma = if self == Self::En { '.' } else { ',' };
        format!("{scaled}{comma}{tenths}\u{a0}{unit_name}")
    }

    /// How long something took, in the two largest units that say something: their symbols are the same everywhere.
    #[must_use]
    pub fn duration(self, seconds: u64) -> String {
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes) {
            (0, 0) if rest == 0 => "<\u{a0}1\u{a0}s".to_owned(),
            (0, 0) => format!("{rest}\u{a0}s"),
            (0, _) => format!("{minutes}\u{a0}min {rest}\u{a0}s"),
            _ => format!("{}\u{a0}h {minutes}\u{a0}min", self.number(hours)),
        }
    }

    /// A whole number with its thousands set apart.
    #[must_use]
    pub fn number(self, number: u64) -> String {
        let separator = match self {
            Self::En => ",",
            Self::De | Self::It => ".",
            Self::Fr => "\u{202f}",
        };
        let digits = number.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push_str(separator);
            }
            text.push(digit);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_read_back_by_its_code_and_has_the_same_one_in_files() {
        for language in Language::ALL {
            assert_eq!(Language::from_code(language.code()), Some(language));
            assert_eq!(
                serde_json::to_value(language).unwrap(),
                serde_json::json!(language.code())
            );
        }
        assert_eq!(Language::from_code("xx"), None);
    }

    #[test]
    fn the_language_that_a_browser_likes_best_is_found() {
        for (header, expected) in [
            ("de-CH, de;q=0.9, en;q=0.8", Some(Language::De)),
            ("es, en;q=0.3, fr-CA;q=0.7", Some(Language::Fr)),
            ("it", Some(Language::It)),
            ("rm, *;q=0.5", None),
            ("en;q=0, fr;q=x", Some(Language::Fr)),
            ("", None),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }

    #[test]
    fn dates_sizes_and_numbers_are_written_as_the_reader_does() {
        let time: Timestamp = "2026-03-05T07:08:09Z".parse().unwrap();
        let zone = TimeZone::UTC;
        let expected = [
            ("5 Mar 2026, 07:08", "1.5\u{a0}GB", "1,234,567"),
            ("05.03.2026, 07:08", "1,5\u{a0}GB", "1.234.567"),
            ("05/03/2026 à 07:08", "1,5\u{a0}Go", "1\u{202f}234\u{202f}567"),
            ("05/03/2026, 07:08", "1,5\u{a0}GB", "1.234.567"),
        ];
        for (language, (date, size, number)) in Language::ALL.into_iter().zip(expected) {
            assert_eq!(language.moment_in(time, &zone), date);
            assert_eq!(language.size(1_599_999_999), size);
            assert_eq!(language.number(1_234_567), number);
        }
        let english = Language::En;
        assert_eq!(english.size(999), "999\u{a0}B");
        assert_eq!(english.size(123_456), "123\u{a0}kB");
        assert!(english.size(u64::MAX).ends_with("PB"));
        assert_eq!(english.number(12), "12");
        assert_eq!(english.duration(0), "<\u{a0}1\u{a0}s");
        assert_eq!(english.duration(59), "59\u{a0}s");
        assert_eq!(english.duration(7384), "2\u{a0}h 3\u{a0}min");
        assert_eq!(Language::De.duration(61), "1\u{a0}min 1\u{a0}s");
    }
}
