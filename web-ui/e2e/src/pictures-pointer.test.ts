// Pictures with a pointer.

import { pointer } from "./hands.js";
import { pictures } from "./pictures.js";

pictures("pictures.pointer", pointer);
