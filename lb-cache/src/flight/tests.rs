use super::*;

fn board() -> Arc<Board<u8, u8>> {
    Arc::new(Board::new())
}

#[tokio::test]
async fn the_second_caller_joins_and_both_get_the_same_value() {
    let board = board();
    let (first, pilot) = board.join(&1, &mut None);
    let (second, none) = board.join(&1, &mut None);
    assert!(none.is_none());
    pilot.unwrap().land(Ok(Some(Arc::new(7))));
    assert_eq!(first.landed().await.unwrap().as_deref(), Some(&7));
    assert_eq!(second.landed().await.unwrap().as_deref(), Some(&7));
    assert_eq!(board.len(), 0);
}

#[tokio::test]
async fn a_flight_taken_off_the_board_answers_its_waiters_but_keeps_nothing() {
    let board = board();
    let (flight, pilot) = board.join(&1, &mut None);
    board.lock(&1).remove(&1);
    let pilot = pilot.unwrap();
    assert!(!pilot.commit(|| panic!("an outdated value was kept")));
    pilot.land(Ok(None));
    assert!(flight.landed().await.unwrap().is_none());
}

#[tokio::test]
async fn a_flight_that_is_current_keeps_and_lands_at_once() {
    let board = board();
    let (flight, pilot) = board.join(&1, &mut None);
    let mut kept = None;
    let current = pilot
        .unwrap()
        .commit_and_land(Ok(Some(Arc::new(7))), |key| kept = Some(*key));
    assert_eq!((current, kept, board.len()), (true, Some(1), 0));
    assert_eq!(flight.landed().await.unwrap().as_deref(), Some(&7));
}

#[tokio::test]
async fn a_flight_that_was_replaced_keeps_nothing_and_leaves_the_other_alone() {
    let board = board();
    let (old, pilot) = board.join(&1, &mut None);
    board.lock(&1).remove(&1);
    let (new, newer) = board.join(&1, &mut None);
    let kept = pilot
        .unwrap()
        .commit_and_land(Ok(None), |_| panic!("an outdated value was kept"));
    assert!(!kept && old.landed().await.unwrap().is_none());
    assert!(
        newer
            .unwrap()
            .commit_and_land(Ok(Some(Arc::new(8))), |_| {})
    );
    assert_eq!(new.landed().await.unwrap().as_deref(), Some(&8));
}

#[tokio::test]
async fn waiters_that_give_up_leave_their_place_to_others() {
    let board = board();
    let (flight, pilot) = board.join(&1, &mut None);
    for _ in 0..100 {
        let mut waits = [flight.landed(), flight.landed()];
        for wait in &mut waits {
            assert!(
                Pin::new(wait)
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
    }
    let places = match &*lock(&flight.0) {
        State::Flying(waiters) => Some((waiters.wakers.len(), waiters.free.len())),
        State::Landed(_) => None,
    };
    assert_eq!(places, Some((2, 2)));
    drop(pilot);
}

#[tokio::test]
async fn a_loader_is_lent_to_a_flight_without_one_until_it_is_too_late() {
    let load = || -> Option<LoadFn<u8>> {
        Some(Box::new(|_| {
            Box::pin(async { Ok(crate::Loaded::value(7)) })
        }))
    };
    let board = board();
    let (flight, pilot) = board.join(&1, &mut None);
    let pilot = pilot.unwrap();
    assert!(board.join(&1, &mut load()).1.is_none());
    assert!(pilot.last_load().is_some(), "it was lent");
    assert!(board.join(&1, &mut load()).1.is_none(), "one is enough");
    drop(pilot);
    let (late, pilot) = board.join(&1, &mut None);
    assert!(!Arc::ptr_eq(&flight, &late));
    assert!(pilot.as_ref().unwrap().last_load().is_none());
    let (same, _) = board.join(&1, &mut None);
    assert!(Arc::ptr_eq(&late, &same), "who brings none may join");
    let (own, newer) = board.join(&1, &mut load());
    assert!(!Arc::ptr_eq(&late, &own) && newer.is_some());
}

#[tokio::test]
async fn a_dropped_pilot_releases_the_waiters() {
    let board = board();
    let (flight, pilot) = board.join(&1, &mut None);
    drop(pilot);
    assert!(matches!(flight.landed().await, Err(CacheError::Dropped)));
    assert!(
        board.join(&1, &mut None).1.is_some(),
        "the key is free again"
    );
}
