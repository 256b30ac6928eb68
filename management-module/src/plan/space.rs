//! Whether an archive fits where it has to go. Pure.
//!
//! **Invariant:** a run is refused only for numbers that are known: a place that does not say what it has is no reason.

/// How much smaller content becomes in an archive; by default not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shrunk {
    /// Bytes of content.
    pub from: u64,
    /// Bytes that they became.
    pub to: u64,
}

impl Shrunk {
    /// Bytes that so much content becomes.
    #[must_use]
    pub fn of(self, content: u64) -> u64 {
        if self.from == 0 {
            return content;
        }
        let bytes = u128::from(content) * u128::from(self.to) / u128::from(self.from);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What a place takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes free, if it says so.
    pub free: Option<u64>,
    /// Most bytes of one file, if it has a limit.
    pub most: Option<u64>,
}

/// A place and what it takes, or why it could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the destination; empty: where the archive is written.
    pub destination: String,
    /// What it takes.
    pub room: Result<Room, String>,
}

impl Place {
    /// Why an archive of so many bytes does not fit; none: it does, or nobody knows.
    #[must_use]
    pub fn problem(&self, needed: u64) -> Option<String> {
        let room = self.room.as_ref().ok()?;
        match (room.most, room.free) {
            (Some(most), _) if needed > most => Some(format!(
                "the archive will have about {needed} bytes, and one file may have {most} bytes there"
            )),
            (_, Some(free)) if needed > free => Some(format!(
                "the archive will have about {needed} bytes, and {free} bytes are free there"
            )),
            _ => None,
        }
    }
}

/// The space that an account has for the archives of its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The account.
    pub account: String,
    /// The tenant.
    pub tenant: String,
    /// Bytes that it has.
    pub bytes: u64,
    /// Bytes that its archives take, on satellites and at destinations.
    pub used: u64,
}

impl Quota {
    /// Why an archive of so many bytes is not made that would lie at so many places; none: there is space for it.
    #[must_use]
    pub fn refusal(&self, needed: u64, places: usize) -> Option<String> {
        let wanted = needed.saturating_mul(places as u64);
        let Self {
            account,
            tenant,
            bytes,
            used,
        } = self;
        (used.saturating_add(wanted) > *bytes).then(|| {
            format!(
                "account {account} has {bytes} bytes of space for tenant {tenant}: its archives take {used}, and this one will \
                 take about {wanted} ({places} times {needed}); remove archives, keep fewer of them, or give it more space"
            )
        })
    }
}

/// Why a run is not begun; none: it is. `writer` is who writes the archive; it must fit there, and at one destination at
/// least, if there are any: one that is full stops no other.
#[must_use]
pub fn refusal(needed: u64, writer: &str, places: &[Place]) -> Option<String> {
    let (own, others): (Vec<_>, Vec<_>) = places.iter().partition(|place| place.destination.is_empty());
    if let Some(problem) = own.iter().find_map(|place| place.problem(needed)) {
        return Some(format!(
            "it does not fit on {writer}: {problem}; delete archives there or make its disk larger"
        ));
    }
    let told = |place: &&Place| {
        let problem = place.problem(needed)?;
        Some(format!("destination {}: {problem}", place.destination))
    };
    let problems: Vec<_> = others.iter().filter_map(told).collect();
    let is_hopeless = !others.is_empty() && problems.len() == others.len();
    is_hopeless.then(|| {
        let problems = problems.join("; ");
        format!("it fits at no destination: {problems}; make room there, or choose fewer data sets")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tenant_gets_no_more_than_its_space_and_is_told_the_numbers() {
        let quota = Quota {
            account: "shop".into(),
            tenant: "acme".into(),
            bytes: 1000,
            used: 700,
        };
        assert_eq!(quota.refusal(100, 3), None);
        let refusal = quota.refusal(101, 3).unwrap();
        for number in ["1000 bytes", "take 700", "about 303", "3 times 101"] {
            assert!(refusal.contains(number), "{refusal}");
        }
        assert!(quota.refusal(u64::MAX, 2).is_some());
    }

    fn place(destination: &str, free: Option<u64>, most: Option<u64>) -> Place {
        Place {
            destination: destination.to_owned(),
            room: Ok(Room { free, most }),
        }
    }

    #[test]
    fn what_cannot_fit_is_refused_with_numbers() {
        let full = place("nas", Some(99), None);
        let small = place("stick", Some(1000), Some(50));
        let good = place("disk", Some(100), None);
        let silent = place("mail", None, None);
        let own = place("", Some(100), None);
        assert_eq!(refusal(100, "hall", std::slice::from_ref(&own)), None);
        let told = refusal(101, "hall", &[own.clone(), good.clone()]).unwrap();
        assert!(told.contains("on hall: ") && told.contains("101") && told.contains("100 bytes are free"));
        // One that is full stops no other.
        assert_eq!(refusal(100, "hall", &[own.clone(), full.clone(), good]), None);
        assert_eq!(refusal(100, "hall", &[own.clone(), full.clone(), silent]), None);
        let told = refusal(100, "hall", &[own, full, small]).unwrap();
        assert!(told.contains("nas: the archive will have about 100 bytes, and 99 bytes are free"));
        assert!(
            told.contains("stick: the archive will have about 100 bytes, and one file may have 50 bytes")
        );
    }

    #[test]
    fn a_place_that_cannot_be_asked_is_no_reason() {
        let away = Place {
            destination: "nas".into(),
            room: Err("it does not answer".into()),
        };
        assert_eq!(refusal(u64::MAX, "hall", &[away]), None);
    }

    proptest! {
        #[test]
        fn estimates_grow_with_the_content_and_never_wrap(from: u64, to: u64, one: u64, more: u64) {
            let shrunk = Shrunk { from, to };
            prop_assert!(shrunk.of(one) <= shrunk.of(one.saturating_add(more)));
        }
    }
}
