//! Bech32 as age writes its keys: checked whole, one case, 32 bytes.

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Letters of the checksum.
const CHECK: usize = 6;

/// The 32 bytes behind `prefix` (lower case), or nothing.
#[must_use]
pub fn decode(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
    if !(is_lower || is_upper) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let letters = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let values: Option<Vec<u8>> = letters
        .bytes()
        .map(|letter| {
            LETTERS
                .iter()
                .position(|known| *known == letter)
                .map(|at| at as u8)
        })
        .collect();
    let values = values?;
    let all = expanded(prefix).chain(values.iter().copied());
    if polymod(all) != 1 {
        return None;
    }
    bytes(values.get(..values.len().checked_sub(CHECK)?)?)
}

/// Five bits each become bytes; what is left over must be nothing.
fn bytes(values: &[u8]) -> Option<[u8; 32]> {
    let mut out = Vec::with_capacity(32);
    let (mut held, mut bits) = (0_u32, 0);
    for value in values {
        held = (held << 5 | u32::from(*value)) & 0xFFF;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
    }
    let rest = held & ((1 << bits) - 1);
    (rest == 0 && bits < 5).then(|| out.try_into().ok()).flatten()
}

fn expanded(prefix: &str) -> impl Iterator<Item = u8> + '_ {
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low)
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let hit = |next, (bit, generator)| {
            if top >> bit & 1 == 1 {
                next ^ generator
            } else {
                next
            }
        };
        (0..5_u32).zip(GENERATOR).fold(next, hit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_whole_or_not_at_all() {
        // From the documentation of age.
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        assert!(decode(good, "age").is_some());
        assert!(decode(&good.to_uppercase(), "age").is_some());
        for at in 4..good.len() {
            let mut changed = good.as_bytes().to_vec();
            changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(
                decode(std::str::from_utf8(&changed).unwrap(), "age"),
                None,
                "{at}"
            );
        }
        for bad in [
            "",
            "age",
            "age1",
            &good[..61],
            &format!("{good}q"),
            &good.replace("age1", "Age1"),
        ] {
            assert_eq!(decode(bad, "age"), None, "{bad}");
        }
        assert_eq!(decode(good, "age-secret-key-"), None);
    }
}
