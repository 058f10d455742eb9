// An invite link on its way from a message to the field where it is used.

let invite = "";

export function offerInvite(link: string) {
  invite = link;
}

/** The offered link, once. */
export function takeInvite(): string {
  const link = invite;
  invite = "";
  return link;
}
