"""The state machine that strings the rooms together: one request from INIT to COMPLETED, FAILED or CANCELLED."""
