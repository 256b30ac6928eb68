//! What somebody is about to make and has not saved: kept here, so that going back and forth loses nothing.
//!
//! **Invariant:** a draft is its author's; nobody else's request finds it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::app::users::UserName;
use crate::bounded::make_room;

/// Drafts of all; beyond that the oldest goes.
const MOST: usize = 500;

/// How long a draft is kept that nobody touches.
const KEPT: Duration = Duration::from_hours(12);

/// Drafts of one kind.
#[derive(Debug)]
pub(super) struct Drafts<T>(Mutex<HashMap<String, Entry<T>>>);

#[derive(Debug)]
struct Entry<T> {
    author: UserName,
    touched: Instant,
    draft: T,
}

impl<T> Default for Drafts<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Drafts<T> {
    /// Keeps a new draft and answers its id.
    pub(super) fn add(&self, author: &UserName, draft: T) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.touched.elapsed() < KEPT);
        make_room(&mut all, MOST, |entry| entry.touched);
        let entry = Entry {
            author: author.clone(),
            touched: Instant::now(),
            draft,
        };
        all.insert(id.clone(), entry);
        id
    }

    /// The author's draft of that id.
    pub(super) fn get(&self, author: &UserName, id: &str) -> Option<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.get(id).filter(|entry| entry.author == *author);
        found.map(|entry| entry.draft.clone())
    }

    /// Puts another state in its place.
    pub(super) fn put(&self, author: &UserName, id: &str, draft: T) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get_mut(id).filter(|entry| entry.author == *author) {
            (entry.draft, entry.touched) = (draft, Instant::now());
        }
    }

    /// It is not needed any more.
    pub(super) fn remove(&self, author: &UserName, id: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(id).is_some_and(|entry| entry.author == *author) {
            all.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_its_authors_and_memory_is_bounded() {
        let drafts = Drafts::default();
        let (anna, bert): (UserName, UserName) = ("anna".parse().unwrap(), "bert".parse().unwrap());
        let id = drafts.add(&anna, 1);
        drafts.put(&bert, &id, 2);
        drafts.remove(&bert, &id);
        assert_eq!((drafts.get(&anna, &id), drafts.get(&bert, &id)), (Some(1), None));
        for number in 0..MOST {
            drafts.add(&bert, number);
        }
        assert_eq!(drafts.get(&anna, &id), None);
        assert_eq!(drafts.0.lock().unwrap().len(), MOST);
    }
}
