//! Lines of several satellites in the order of their times.
//!
//! **Invariant:** no more than one line of each waits here; who reads slowly slows the readers down.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

/// How long a line that is followed waits for an older one of another satellite.
const PATIENCE: Duration = Duration::from_millis(700);

/// How often is looked while lines are followed.
const LOOK: Duration = Duration::from_millis(50);

/// A line that waits for its turn.
struct Head {
    key: String,
    line: String,
    since: Instant,
}

struct Source<E> {
    name: String,
    lines: Receiver<Result<String, E>>,
    head: Option<Head>,
    /// Time of its last line: a line without one comes after it.
    last: String,
    ended: bool,
}

/// The lines of all.
pub(crate) struct Merge<E> {
    sources: Vec<Source<E>>,
    follow: bool,
    /// What could not be read to its end, and why.
    pub(crate) failures: Vec<(String, E)>,
}

impl<E> Merge<E> {
    pub(crate) fn new(sources: Vec<(String, Receiver<Result<String, E>>)>, follow: bool) -> Self {
        let sources = sources.into_iter().map(|(name, lines)| Source {
            name,
            lines,
            head: None,
            last: String::new(),
            ended: false,
        });
        Self {
            sources: sources.collect(),
            follow,
            failures: Vec::new(),
        }
    }

    /// The next line and whose it is; none when all have ended.
    pub(crate) async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if self.follow {
                self.take_what_is_there();
            } else {
                self.wait_for_each().await;
            }
            let is_complete = self
                .sources
                .iter()
                .all(|source| source.ended || source.head.is_some());
            if is_complete && self.sources.iter().all(|source| source.head.is_none()) {
                return None;
            }
            let is_due = |head: &Head| is_complete || head.since.elapsed() >= PATIENCE;
            let any_due = self
                .sources
                .iter()
                .filter_map(|source| source.head.as_ref())
                .any(is_due);
            if any_due {
                return self.take_oldest();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn take_oldest(&mut self) -> Option<(String, String)> {
        let key = |source: &&mut Source<E>| source.head.as_ref().map(|head| head.key.clone());
        let with_line = self.sources.iter_mut().filter(|source| source.head.is_some());
        let oldest = with_line.min_by_key(key)?;
        let head = oldest.head.take()?;
        Some((oldest.name.clone(), head.line))
    }

    async fn wait_for_each(&mut self) {
        for source in &mut self.sources {
            while source.head.is_none() && !source.ended {
                let came = source.lines.recv().await;
                source.note(came, &mut self.failures);
            }
        }
    }

    fn take_what_is_there(&mut self) {
        use tokio::sync::mpsc::error::TryRecvError;

        for source in &mut self.sources {
            if source.head.is_some() || source.ended {
                continue;
            }
            match source.lines.try_recv() {
                Ok(came) => source.note(Some(came), &mut self.failures),
                Err(TryRecvError::Disconnected) => source.note(None, &mut self.failures),
                Err(TryRecvError::Empty) => {}
            }
        }
    }
}

impl<E> Source<E> {
    fn note(&mut self, came: Option<Result<String, E>>, failures: &mut Vec<(String, E)>) {
        match came {
            Some(Ok(line)) => {
                if let Some(time) = time_of(&line) {
                    time.clone_into(&mut self.last);
                }
                self.head = Some(Head {
                    key: self.last.clone(),
                    line,
                    since: Instant::now(),
                });
            }
            Some(Err(error)) => {
                failures.push((self.name.clone(), error));
                self.ended = true;
            }
            None => self.ended = true,
        }
    }
}

/// The time with which a line of the journal begins, or that its object names; as text, which sorts by time in UTC.
fn time_of(line: &str) -> Option<&str> {
    let text = match line.strip_prefix('{') {
        Some(object) => object.split_once("\"time\":\"")?.1.split('"').next()?,
        None => line.split(' ').next()?,
    };
    let is_time = text.len() >= 20 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    is_time.then_some(text)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tonic::Status;

    use super::*;

    fn line(second: u32, text: &str) -> Result<String, Status> {
        Ok(format!("2026-11-22T10:00:{second:02}.000000Z a.service 6 {text}"))
    }

    async fn all(mut merge: Merge<Status>) -> Vec<String> {
        let mut told = Vec::new();
        while let Some((name, line)) = merge.next().await {
            let text = line.split(' ').next_back().unwrap();
            told.push(format!("{name}:{text}"));
        }
        told
    }

    #[tokio::test]
    async fn lines_of_several_come_in_the_order_of_their_times() {
        for follow in [false, true] {
            let (a, from_a) = mpsc::channel(8);
            let (b, from_b) = mpsc::channel(8);
            for said in [line(1, "one"), line(4, "four"), Ok("rest".to_owned())] {
                a.send(said).await.unwrap();
            }
            for said in [line(2, "two"), line(3, "three"), line(5, "five")] {
                b.send(said).await.unwrap();
            }
            drop((a, b));
            let merge = Merge::new(vec![("a".to_owned(), from_a), ("b".to_owned(), from_b)], follow);
            let told = all(merge).await;
            assert_eq!(told, ["a:one", "b:two", "b:three", "a:four", "a:rest", "b:five"]);
        }
    }

    #[tokio::test]
    async fn one_that_is_silent_holds_the_others_up_for_a_moment_only() {
        let (a, from_a) = mpsc::channel(8);
        let (_b, from_b) = mpsc::channel(8);
        a.send(line(1, "one")).await.unwrap();
        let mut merge = Merge::new(vec![("a".to_owned(), from_a), ("b".to_owned(), from_b)], true);
        let (name, _) = merge.next().await.unwrap();
        assert_eq!(name, "a");
    }

    #[tokio::test]
    async fn one_that_fails_is_named_and_the_others_go_on() {
        let (a, from_a) = mpsc::channel(8);
        let (b, from_b) = mpsc::channel(8);
        a.send(Err(Status::unavailable("gone"))).await.unwrap();
        b.send(line(1, "one")).await.unwrap();
        drop((a, b));
        let mut merge = Merge::new(vec![("a".to_owned(), from_a), ("b".to_owned(), from_b)], false);
        assert_eq!(merge.next().await.unwrap().0, "b");
        assert!(merge.next().await.is_none());
        assert_eq!(merge.failures[0].0, "a");
    }
}
