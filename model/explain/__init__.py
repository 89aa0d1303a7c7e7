"""The recurrent heart made visible: error flow, gates at work, cells compared."""
