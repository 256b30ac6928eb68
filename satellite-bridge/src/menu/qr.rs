//! The address of pairing as a QR code made of half blocks.
//!
//! **Invariant:** pure. Light modules are drawn, dark ones are left: on a dark screen the code is the right way round.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code; two are enough on a screen.
const QUIET: usize = 2;

/// What a camera reads: where the satellite is, and its code.
///
/// Capitals, so that the short alphabet of QR codes does.
pub(super) fn pairing_address(address: &str, port: u16, code: &str) -> String {
    let host = if address.contains(':') {
        format!("[{}]", address.to_uppercase())
    } else {
        address.to_owned()
    };
    format!("SATELLITE://{host}:{port}/{}", code.replace('-', ""))
}

/// The lines of the code; none if `text` is too long for a small one.
pub(super) fn lines(text: &str) -> Vec<String> {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        return Vec::new();
    };
    let width = code.width();
    let modules = code.to_colors();
    let is_light = |row: usize, column: usize| {
        let inside = (QUIET..width + QUIET).contains(&row) && (QUIET..width + QUIET).contains(&column);
        !inside || modules.get((row - QUIET) * width + column - QUIET) == Some(&Color::Light)
    };
    let size = width + 2 * QUIET;
    (0..size)
        .step_by(2)
        .map(|row| {
            (0..size)
                .map(|column| {
                    let lower = row + 1 < size && is_light(row + 1, column);
                    match (is_light(row, column), lower) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    }
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_any_address_fits_beside_the_status() {
        for (address, most) in [
            ("192.168.100.200", 33),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", 41),
        ] {
            let lines = lines(&pairing_address(address, 7640, "ABCD-EFGH-JKMN-PQRS"));
            assert!(!lines.is_empty() && lines.len() <= 20, "{} lines", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= most));
        }
    }

    #[test]
    fn the_address_says_where_and_with_which_code() {
        assert_eq!(
            pairing_address("10.0.0.7", 7640, "ABCD-EFGH-JKMN-PQRS"),
            "SATELLITE://10.0.0.7:7640/ABCDEFGHJKMNPQRS"
        );
        assert_eq!(
            pairing_address("2001:db8::7", 7640, "A"),
            "SATELLITE://[2001:DB8::7]:7640/A"
        );
    }

    #[test]
    fn a_text_that_is_too_long_makes_no_code() {
        assert!(lines(&"x".repeat(5000)).is_empty());
    }
}
