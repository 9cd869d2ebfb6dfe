//! Many calls at once, without a task for each.

use std::task::Poll;

use crate::source::BoxFuture;

enum Call<'a, T> {
    Running(BoxFuture<'a, T>),
    Done(T),
}

/// Waits for all; the answers are in their order. Each wake-up polls every call
/// that still runs: for tens of them, not for thousands.
pub(crate) async fn together<'a, T>(calls: impl Iterator<Item = BoxFuture<'a, T>>) -> Vec<T> {
    let mut calls: Vec<Call<'a, T>> = calls.map(Call::Running).collect();
    std::future::poll_fn(|cx| {
        let mut done = true;
        for call in &mut calls {
            if let Call::Running(running) = call {
                match running.as_mut().poll(cx) {
                    Poll::Ready(answer) => *call = Call::Done(answer),
                    Poll::Pending => done = false,
                }
            }
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let answers = calls.into_iter().filter_map(|call| match call {
        Call::Done(answer) => Some(answer),
        Call::Running(_) => None,
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_answers_are_in_the_order_of_the_calls() {
        let calls = [3u64, 1, 2].map(|n| -> BoxFuture<'_, u64> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(n)).await;
                n
            })
        });
        assert_eq!(together(calls.into_iter()).await, [3, 1, 2]);
    }
}
