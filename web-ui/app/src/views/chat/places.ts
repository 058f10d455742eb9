// Where the person was in each conversation, for when they come back to it.

/** Conversations remembered; when full the one left longest ago goes. */
const PLACES_MAX = 100;

/** The key of the row at the top; absent means at the end. */
const places = new Map<string, string>();

export function remember(conversation: string, row: string | null) {
  places.delete(conversation);
  if (row !== null) places.set(conversation, row);
  const oldest = places.size > PLACES_MAX ? places.keys().next().value : undefined;
  if (oldest !== undefined) places.delete(oldest);
}

export function placeIn(conversation: string): string | null {
  return places.get(conversation) ?? null;
}
