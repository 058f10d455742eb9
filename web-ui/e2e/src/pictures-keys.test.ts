// Pictures with keys alone.

import { keys } from "./hands.js";
import { pictures } from "./pictures.js";

pictures("pictures.keys", keys);
