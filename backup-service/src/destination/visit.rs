//! A connection to a destination that is begun anew after a cut, with full jitter, until there has been no progress for
//! several tries.

use std::time::Duration;

use rand::Rng as _;

use super::fault::Fault;
use super::gauge::Gauge;
use super::pace::Pace;
use super::place::Place;
use super::target::Target;

/// How often and how slowly it is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries without any progress before it is given up.
    pub tries: u32,
    /// Longest wait before the second try; it doubles with each.
    pub first: Duration,
    /// Longest wait of all.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 8,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The wait before try `number` (0: the first repetition): anything up to the doubled limit, so that many who were cut
    /// at once do not come back at once. `jitter` is from 0 to 1.
    #[must_use]
    pub fn wait(&self, number: u32, jitter: f64) -> Duration {
        let most = self
            .first
            .saturating_mul(2_u32.saturating_pow(number))
            .min(self.longest);
        most.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// A connection and how it has fared.
#[expect(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct Visit {
    /// The destination.
    pub place: Box<dyn Place>,
    /// How far the work is.
    pub gauge: Gauge,
    pub(super) pace: Pace,
    tries: Tries,
}

struct Tries {
    patience: Patience,
    made: u32,
    at: String,
}

impl Tries {
    /// Waits, or gives the fault back if it is no use.
    async fn wait(&mut self, fault: Fault, gauge: &Gauge) -> Result<(), Fault> {
        if !fault.is_transient() || self.made + 1 >= self.patience.tries {
            return Err(fault);
        }
        let mut wait = self.patience.wait(self.made, rand::rng().random());
        if let Fault::Busy {
            after: Some(after), ..
        } = &fault
        {
            // What it asked for, and the jitter on top of that.
            wait += (*after).min(Duration::from_secs(300));
        }
        self.made += 1;
        gauge.retried();
        tracing::warn!(destination = self.at, error = %fault, ?wait, tries = self.made, "Begins anew at a destination");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

impl Visit {
    /// Connects, several times if need be.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn begin(target: &Target, patience: Patience, gauge: Gauge) -> Result<Self, Fault> {
        let mut tries = Tries {
            patience,
            made: 0,
            at: target.identity(),
        };
        let place = loop {
            match target.connect().await {
                Ok(place) => break place,
                Err(fault) => tries.wait(fault, &gauge).await?,
            }
        };
        tries.made = 0;
        Ok(Self {
            place,
            gauge,
            pace: Pace::new(target.limit),
            tries,
        })
    }

    /// Something has got further: the tries count anew.
    pub(super) fn moved(&mut self) {
        self.tries.made = 0;
    }

    /// Connects anew after a fault that may pass.
    ///
    /// # Errors
    /// The fault, if it is of another kind or there were too many.
    pub async fn recover(&mut self, mut fault: Fault) -> Result<(), Fault> {
        loop {
            self.tries.wait(fault, &self.gauge).await?;
            match self.place.again().await {
                Ok(()) => return Ok(()),
                Err(next) => fault = next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread_whole() {
        let patience = Patience::default();
        assert_eq!(patience.wait(0, 1.0), Duration::from_millis(500));
        assert_eq!(patience.wait(3, 1.0), Duration::from_secs(4));
        assert_eq!(patience.wait(60, 1.0), Duration::from_secs(30));
        assert_eq!(patience.wait(60, 0.0), Duration::ZERO);
    }
}
