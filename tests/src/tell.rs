//! Tells a person what is being done, and how long it took.
#![expect(clippy::print_stdout, reason = "this is what `make run` shows")]

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Numbers steps and times them.
#[derive(Debug)]
pub struct Teller {
    start: Instant,
    number: usize,
    of: usize,
}

impl Teller {
    /// Will tell of `of` steps.
    #[must_use]
    pub fn new(of: usize) -> Self {
        Self {
            start: Instant::now(),
            number: 0,
            of,
        }
    }

    /// Does `work`, which answers something and what to say about it.
    ///
    /// # Errors
    ///
    /// What `work` fails with, with the step's title.
    pub async fn step<T>(
        &mut self,
        title: &str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        self.number += 1;
        println!("[{:>2}/{}] {title}", self.number, self.of);
        let _ = std::io::stdout().flush();
        let start = Instant::now();
        match Box::pin(work).await {
            Ok((done, said)) => {
                println!("        {said} ({})", seconds(start.elapsed()));
                Ok(done)
            }
            Err(err) => Err(err.context(format!("step {} of {}: {title}", self.number, self.of))),
        }
    }

    /// Shows text, indented.
    pub fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("        {line}");
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Seconds with a digit.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Bytes in MiB with a digit.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / 1024 / 1024;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}
