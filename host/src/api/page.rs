//! Lists in pages: `limit`, `cursor` and `next`, one contract for all lists that are sorted by a name.

use crate::api::input::Input;
use std::cmp::Ordering;

/// The order of names that are `group:name`: by group, then name.
pub(super) fn by_group(one: &str, other: &str) -> Ordering {
    one.split_once(':').cmp(&other.split_once(':'))
}

/// Items of one page at most.
pub(super) const LIMIT_MAX: u64 = 1_000;
const CURSOR_BYTES_MAX: usize = 1_024;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// All without it.
    limit: Option<usize>,
    /// The name behind which it begins, which need not be there any more.
    after: Option<String>,
}

impl Page {
    /// Takes `limit` and `cursor` of a request.
    pub(super) fn of(input: &mut Input) -> Self {
        let limit = input.number("limit", 1..=LIMIT_MAX).and_then(|limit| usize::try_from(limit).ok());
        let after = input.text("cursor");
        if after.as_ref().is_some_and(|after| after.is_empty() || after.len() > CURSOR_BYTES_MAX) {
            input.problem("/query/cursor", "invalid", "the `next` of an earlier page was expected".to_owned());
        }
        Self { limit, after }
    }

    /// This page of a list whose names rise in this order, and the cursor of the next one if there is more.
    pub(super) fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        order: impl Fn(&str, &str) -> Ordering,
        name: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let is_behind = |item: &T| self.after.as_deref().is_none_or(|after| order(&name(item), after).is_gt());
        let mut items = items.into_iter().filter(is_behind);
        let Some(limit) = self.limit else { return (items.collect(), None) };
        let page: Vec<T> = items.by_ref().take(limit).collect();
        let next = items.next().and(page.last()).map(&name);
        (page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ApiError;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn page(query: &str) -> Result<Page, ApiError> {
        let mut input = Input::new(&format!("/x?{query}").parse().expect("an address"));
        let page = Page::of(&mut input);
        input.finish().map(|_| page)
    }

    #[test]
    fn a_bad_page_is_refused_by_name() {
        for (query, pointer) in [
            ("limit=0", "/query/limit"),
            ("limit=1001", "/query/limit"),
            ("limit=x", "/query/limit"),
            ("cursor=", "/query/cursor"),
        ] {
            let Err(ApiError::Invalid(problems)) = page(query) else { panic!("{query} is accepted") };
            assert_eq!(problems[0].pointer, pointer);
        }
        assert_eq!(page("limit=7&cursor=a%2Fb").expect("good"), Page { limit: Some(7), after: Some("a/b".into()) });
    }

    #[test]
    fn processes_rise_by_group_and_then_name() {
        let mut ids = ["a-b:c", "a:z", "a:b:c", "a:b"];
        ids.sort_by(|one, other| by_group(one, other));
        assert_eq!(ids, ["a:b", "a:b:c", "a:z", "a-b:c"]);
    }

    proptest! {
        /// Page by page everything is seen once and in order, whatever comes and goes before the cursor.
        #[test]
        fn the_pages_are_the_list(
            names in prop::collection::btree_set("[a-c]{1,3}", 0..30),
            gone in prop::collection::btree_set("[a-c]{1,3}", 0..10),
            limit in 1_usize..8,
        ) {
            let (mut here, mut seen, mut page) = (names.clone(), Vec::new(), Page { limit: Some(limit), after: None });
            loop {
                let (items, next) = page.cut(here.iter(), str::cmp, |name| (*name).clone());
                prop_assert!(items.len() <= limit);
                seen.extend(items.into_iter().cloned());
                let Some(next) = next else { break };
                // The item of the cursor itself may go too.
                here.retain(|name| !gone.contains(name) || *name > next);
                page.after = Some(next);
            }
            prop_assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
            let all: BTreeSet<String> = here.clone();
            prop_assert_eq!(Page::default().cut(here.iter(), str::cmp, |name| (*name).clone()), (all.iter().collect(), None));
        }
    }
}
