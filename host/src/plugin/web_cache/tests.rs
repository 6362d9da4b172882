use super::*;

const URL: &str = "https://idp/keys";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn answer(status: u16, control: Option<&str>, body: usize) -> Outcome {
    let headers = control.map(|control| ("cache-control".to_owned(), control.to_owned())).into_iter().collect();
    Ok(Arc::new(ExchangeResponse { status, headers, body: vec![0; body] }))
}

fn plugin(name: &str) -> Arc<str> {
    Arc::from(name)
}

/// Asks for it with this outcome, whatever is kept.
fn ask(cache: &WebCache, url: &str, outcome: &Outcome, now: Instant) {
    match cache.next(&plugin("x"), url, Freshness::MaxAge(Duration::ZERO), now + Duration::from_nanos(1)) {
        Next::Ask(asking) => asking.settle(outcome, now),
        Next::Take(..) | Next::Wait(_) => panic!("it is there already"),
    }
}

/// The status and age of what would be used without asking.
fn taken(cache: &WebCache, url: &str, freshness: Freshness, now: Instant) -> Option<(u16, u64)> {
    match cache.next(&plugin("x"), url, freshness, now) {
        Next::Take(outcome, age) => Some((outcome.map_or(0, |response| response.status), age.as_secs())),
        Next::Ask(_) | Next::Wait(_) => None,
    }
}

fn max_age(age: u64) -> Freshness {
    Freshness::MaxAge(seconds(age))
}

#[test]
fn an_answer_serves_until_it_is_older_than_asked_for() {
    let (cache, start) = (WebCache::default(), Instant::now());
    ask(&cache, URL, &answer(200, None, 1), start);
    assert_eq!(taken(&cache, URL, max_age(60), start + seconds(60)), Some((200, 60)));
    assert_eq!(taken(&cache, URL, max_age(60), start + seconds(61)), None);
    assert_eq!(taken(&cache, "https://idp/other", max_age(60), start), None);
    assert!(matches!(cache.next(&plugin("y"), URL, max_age(60), start), Next::Ask(_)), "another plugin's is its own");
}

#[test]
fn a_server_may_ask_for_less_and_not_for_more() {
    for (control, age) in [
        ("max-age=5", 5),
        ("public, Max-Age=5, s-maxage=90", 5),
        ("max-age=600", 60),
        ("no-store", 0),
        ("no-cache", 0),
        ("private, max-age=60", 0),
        ("max-age=nonsense", 0),
        ("must-revalidate", 60),
    ] {
        let (cache, start) = (WebCache::default(), Instant::now());
        ask(&cache, URL, &answer(200, Some(control), 1), start);
        let longest = (1..100).take_while(|&at| taken(&cache, URL, max_age(60), start + seconds(at)).is_some()).last();
        assert_eq!(longest.unwrap_or(0), age, "{control}");
    }
}

#[test]
fn a_failure_is_not_kept_and_takes_nothing_away() {
    let (cache, start) = (WebCache::default(), Instant::now());
    ask(&cache, URL, &answer(200, None, 1), start);
    ask(&cache, URL, &answer(503, None, 1), start + seconds(1));
    ask(&cache, URL, &Err(ExchangeFailure::TimedOut), start + seconds(2));
    assert_eq!(taken(&cache, URL, max_age(60), start + seconds(3)), Some((200, 3)));
}

#[test]
fn a_refresh_asks_once_in_ten_seconds_whatever_came_of_it() {
    for (outcome, status) in
        [(answer(200, Some("no-store"), 1), 200), (answer(404, None, 1), 404), (Err(ExchangeFailure::TimedOut), 0)]
    {
        let (cache, start) = (WebCache::default(), Instant::now());
        assert_eq!(taken(&cache, URL, Freshness::Refresh, start), None);
        ask(&cache, URL, &outcome, start);
        assert_eq!(taken(&cache, URL, Freshness::Refresh, start + seconds(9)), Some((status, 9)));
        assert_eq!(taken(&cache, URL, Freshness::Refresh, start + seconds(10)), None);
    }
}

#[tokio::test]
async fn those_who_come_while_one_asks_wait_for_its_outcome() {
    let (cache, start) = (WebCache::default(), Instant::now());
    let Next::Ask(asking) = cache.next(&plugin("x"), URL, max_age(60), start) else { panic!("nothing is there") };
    let Next::Wait(mut wait) = cache.next(&plugin("x"), URL, Freshness::Refresh, start) else { panic!("one asks") };
    asking.settle(&answer(200, None, 1), start);
    assert!(wait.wait_for(Option::is_some).await.is_ok());
    assert_eq!(taken(&cache, URL, max_age(60), start), Some((200, 0)));
}

#[tokio::test]
async fn when_the_one_who_asked_is_gone_another_asks() {
    let (cache, start) = (WebCache::default(), Instant::now());
    let Next::Ask(asking) = cache.next(&plugin("x"), URL, max_age(60), start) else { panic!("nothing is there") };
    let Next::Wait(mut wait) = cache.next(&plugin("x"), URL, max_age(60), start) else { panic!("one asks") };
    drop(asking);
    assert!(wait.wait_for(Option::is_some).await.is_err(), "there will be no outcome");
    assert!(matches!(cache.next(&plugin("x"), URL, max_age(60), start), Next::Ask(_)));
}

#[test]
fn a_plugin_has_so_many_urls_and_bytes_and_the_least_recent_go() {
    let (cache, start) = (WebCache::default(), Instant::now());
    let url = |number: u64| format!("https://idp/{number:03}");
    for number in 0..=URLS_MAX as u64 {
        ask(&cache, &url(number), &answer(200, None, 1), start + Duration::from_millis(number));
    }
    let now = start + seconds(1);
    assert_eq!(taken(&cache, &url(1), max_age(60), now), Some((200, 0)));
    assert_eq!(cache.shelves().get("x").expect("a shelf").entries.len(), URLS_MAX);
    assert_eq!(taken(&cache, &url(0), max_age(60), now), None, "the oldest went");
    for number in 100..120 {
        ask(&cache, &url(number), &answer(200, None, 256 << 10), now + Duration::from_millis(number));
        let shelves = cache.shelves();
        assert!(shelves.get("x").expect("a shelf").bytes() <= BYTES_MAX);
    }
    assert_eq!(taken(&cache, &url(119), max_age(60), now + seconds(1)), Some((200, 0)), "the newest is there");
}

#[test]
fn plugins_without_end_do_not_fill_the_memory() {
    let (cache, start) = (WebCache::default(), Instant::now());
    for number in 0..PLUGINS_MAX as u64 + 10 {
        let next = cache.next(&plugin(&format!("p{number}")), URL, max_age(1), start + seconds(number));
        assert!(matches!(next, Next::Ask(_)));
    }
    assert_eq!(cache.shelves().len(), PLUGINS_MAX);
}
