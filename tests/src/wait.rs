//! Waits for a state, with a limit and a name for what was awaited; never for a length of time.

use std::time::{Duration, Instant};

/// The first look comes at once, the next ones in growing distance up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Calls `probe` until it answers something, at most for `limit`.
///
/// # Errors
///
/// Names `what` if the limit passed. What `probe` holds then is dropped.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.max(pause), probe()).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if start.elapsed() < limit => {}
            _ => anyhow::bail!("waited {limit:?} in vain for {what}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_after_some_looks_is_answered() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some("there")
        });
        assert_eq!(found.await.unwrap(), "there");
    }

    #[tokio::test]
    async fn what_never_comes_is_named() {
        let never = until("a miracle", Duration::from_millis(20), async || None::<()>).await;
        assert!(never.unwrap_err().to_string().contains("a miracle"));
    }
}
