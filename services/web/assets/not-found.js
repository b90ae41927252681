// Nothing is at this address; the frame is all that this page needs.

import "frame";
