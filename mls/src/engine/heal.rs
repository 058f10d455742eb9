//! Coming back: a device that cannot follow the group any more, or a new one
//! of an account that is in, asks to be let in; any member may do so.

use kith_store::Tx;
use kith_wire::group::{PackedReadd, ReaddReq, kinds};
use kith_wire::ids::{GroupId, StateId};
use kith_wire::signed;
use sha2::{Digest, Sha256};

use super::commit::read_package;
use super::ctx::Ctx;
use super::packages;
use crate::EngineError;
use crate::api::{DeviceKeys, Outcome};
use crate::crypto::{Crypto, Rand};
use crate::valid;

/// States that a request names.
const HELD_MAX: usize = 16;

/// A request of this device with a fresh key package.
pub(super) fn request(
    keys: &DeviceKeys,
    crypto: &Crypto,
    rand: &Rand,
    tx: &mut Tx<'_>,
    gid: GroupId,
    held: Vec<StateId>,
) -> Result<Vec<u8>, EngineError> {
    let package = packages::make(keys, crypto, rand, tx, false)?;
    let body = ReaddReq {
        kind: kinds::READD,
        version: 1,
        gid,
        device: keys.device(),
        credential: keys.credential.clone(),
        package: Sha256::digest(&package).into(),
        held,
    };
    Ok(PackedReadd { raw: signed::sign(&body, &keys.signing, &[]), package }.to_bytes())
}

impl Ctx<'_, '_> {
    /// The request to be let in again: the same one until a member has served
    /// it. If its Welcome does not come, the next request is a new one.
    pub(super) fn ask_back(&mut self) -> Result<Vec<u8>, EngineError> {
        if let Some(asked) = self.row().readd.clone() {
            let package = Sha256::digest(&PackedReadd::from_bytes(&asked)?.package).into();
            let goal = self.row().goal.unwrap_or(self.row().tip);
            if !self.any_used(goal, &[package])? {
                return Ok(asked);
            }
        }
        let held = self.row().held.iter().rev().map(|(s, _)| *s).take(HELD_MAX).collect();
        let asked = request(self.keys, self.crypto, self.rand, self.tx, self.gid, held)?;
        self.row_mut().readd = Some(asked.clone());
        Ok(asked)
    }

    pub(super) fn ingest_readd(&mut self, request: &PackedReadd, bytes: &[u8]) -> Result<(), EngineError> {
        let tip = self.tip()?;
        if !tip.row.me_in || self.row().goal.is_some() || self.row().put_back {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        let asked = match valid::readd(&self.gid, &tip, &request.raw) {
            Ok(asked) => asked,
            Err(why) => return self.reject(why),
        };
        let hash: [u8; 32] = Sha256::digest(&request.package).into();
        let owner = read_package(self.crypto, &request.package).map(|(_, member)| member);
        if hash != asked.package || !owner.is_ok_and(|m| m.device == asked.device) {
            return self.reject("a request to come back lacks its key package");
        }
        if asked.device == self.me() || self.any_used(tip.id, &[asked.package])? {
            self.out.push(Outcome::Known);
            return Ok(());
        }
        if !self.orders_against(&asked.account, Some(&asked.device))?.is_empty() {
            return self.reject("a request to come back is from somebody who was removed");
        }
        self.out.push(Outcome::Readd {
            account: asked.account,
            device: asked.device,
            request: bytes.to_vec(),
        });
        Ok(())
    }
}
