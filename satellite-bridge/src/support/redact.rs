//! Takes secrets out of what programs wrote into their logs, as far as they can be told from other words.
//!
//! The bridge writes none; a workload is a stranger, and what it prints goes to whoever helps. Pure.

/// Words after which a value is a secret.
const NAMES: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
];

/// What stands where a secret was.
const HIDDEN: &str = "[redacted]";

/// Begins and ends keys in the armour of PEM.
const ARMOUR: [&str; 2] = ["-----BEGIN", "-----END"];

/// `text` without the values of what is named like a secret, and without private keys.
pub(super) fn text(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        let begins = line.contains(ARMOUR[0]) && line.contains("PRIVATE KEY");
        let ends = line.contains(ARMOUR[1]);
        if begins || in_key {
            if begins {
                told.push_str(HIDDEN);
                told.push('\n');
            }
            in_key = !ends;
            continue;
        }
        one(line, &mut told);
    }
    told
}

/// A line: what follows a name and a sign of assignment is hidden to its end.
fn one(line: &str, told: &mut String) {
    let lower = line.to_ascii_lowercase();
    let mut at = 0;
    while let Some((from, to)) = next_value(&lower, at) {
        told.push_str(&line[at..from]);
        told.push_str(HIDDEN);
        at = to;
    }
    told.push_str(&line[at..]);
}

/// Where the value of the next secret lies in `lower`, from `at` on. ASCII letters keep their places when made small.
fn next_value(lower: &str, at: usize) -> Option<(usize, usize)> {
    let rest = &lower[at..];
    let bearer = rest.find("bearer ").map(|found| at + found + "bearer ".len());
    let named = NAMES.iter().filter_map(|name| assigned(lower, at, name)).min();
    let from = bearer.into_iter().chain(named).min()?;
    let value = &lower[from..];
    let (skip, end) = match value.chars().next()? {
        quote @ ('"' | '\'') => (1, value[1..].find(quote).map_or(value.len(), |end| end + 1)),
        _ => {
            let stops = |c: char| c.is_whitespace() || ",;&\"')}]".contains(c);
            (0, value.find(stops).unwrap_or(value.len()))
        }
    };
    // An empty value hides nothing, and the search goes on behind it.
    if end <= skip {
        return next_value(lower, from + end.max(1).min(value.len()));
    }
    Some((from + skip, from + end))
}

/// Where the value of `name` begins, if something is assigned to it at or behind `at`.
fn assigned(lower: &str, at: usize, name: &str) -> Option<usize> {
    let mut from = at;
    loop {
        let found = from + lower[from..].find(name)?;
        let behind = found + name.len();
        let rest = lower[behind..].trim_start_matches(['"', '\'']);
        let trimmed = rest.trim_start_matches(' ');
        if let Some(value) = trimmed.strip_prefix([':', '=']) {
            let value = value.trim_start_matches(' ');
            return Some(lower.len() - value.len()).filter(|start| *start < lower.len());
        }
        from = behind;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, told: &str) {
        assert_eq!(text(line), told);
    }

    #[test]
    fn values_of_secrets_are_hidden_and_the_rest_stays() {
        check(
            "login user=a password=hunter2 ok",
            "login user=a password=[redacted] ok",
        );
        check(
            "{\"Password\": \"hun\\ter2\", \"x\":1}",
            "{\"Password\": \"[redacted]\", \"x\":1}",
        );
        check(
            "Authorization: Bearer abc.def\nnext",
            "Authorization: Bearer [redacted]\nnext",
        );
        check(
            "SECRET_TOKEN='x y' token: z",
            "SECRET_TOKEN='[redacted]' token: [redacted]",
        );
        check("the password was wrong", "the password was wrong");
        check("password=", "password=");
        check(
            "a\n-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\nb",
            "a\n[redacted]\nb",
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_it_ends_and_hides_the_word(before in "\\PC{0,30}", after in "\\PC{0,30}") {
            let line = format!("{before} password=Xy7zQ9wV {after}");
            prop_assert!(!text(&line).contains("Xy7zQ9wV"), "{}", text(&line));
        }
    }
}
