//! `accounts`: the host compares passwords, so that their hashes never enter a plugin.

use crate::model::Secret;
use crate::plugin::PasswordCheck;
use crate::plugin::bindings::auth::omnivisor::host::accounts::PasswordCheck as Answer;
use crate::plugin::imports::{charge, rearm};
use crate::plugin::state::CallState;
use wasmtime::StoreContextMut;
use wasmtime::component::LinkerInstance;

const USERNAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MAX: usize = 1_024;

pub(super) fn add(host: &mut LinkerInstance<'_, CallState>) -> wasmtime::Result<()> {
    host.func_wrap_async(
        "check-password",
        |mut cx: StoreContextMut<'_, CallState>, (username, password): (String, String)| {
            Box::new(async move {
                charge(&mut cx, username.len() + password.len())?;
                let is_fit = (1..=USERNAME_BYTES_MAX).contains(&username.len())
                    && (1..=PASSWORD_BYTES_MAX).contains(&password.len());
                if !cx.data_mut().take_password_check() || !is_fit {
                    return Ok((Ok(Answer::Differs),));
                }
                let Some(accounts) = cx.data().accounts.clone() else {
                    return Ok((Err("there are no accounts here".to_owned()),));
                };
                let answer: Result<Answer, String> =
                    accounts.check_password(username, Secret::new(password)).await.map(|check| match check {
                        PasswordCheck::Matches => Answer::Matches,
                        PasswordCheck::Differs => Answer::Differs,
                    });
                rearm(&mut cx);
                Ok((answer,))
            })
        },
    )
}
